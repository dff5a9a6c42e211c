import { Page } from "@/ui/Page";

export default function WorkspaceUsage() {
  return <Page title="Usage">…</Page>;
}
