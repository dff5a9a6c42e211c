import { Page } from "@/ui/Page";

export default function AdminSandboxes() {
  return <Page title="All sandboxes">…</Page>;
}
