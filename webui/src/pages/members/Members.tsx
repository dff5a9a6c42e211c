import { Page } from "@/ui/Page";

export default function Members() {
  return <Page title="Members">…</Page>;
}
