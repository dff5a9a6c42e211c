import { Page } from "@/ui/Page";

export default function Sessions() {
  return <Page title="Where you are signed in">…</Page>;
}
