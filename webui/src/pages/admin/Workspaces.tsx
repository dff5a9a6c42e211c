import { Page } from "@/ui/Page";

export default function Workspaces() {
  return <Page title="Workspaces">…</Page>;
}
