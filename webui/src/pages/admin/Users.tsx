import { Page } from "@/ui/Page";

export default function Users() {
  return <Page title="Users">…</Page>;
}
