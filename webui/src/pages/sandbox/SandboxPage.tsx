import { Outlet } from "@tanstack/react-router";
import { Page } from "@/ui/Page";

export default function SandboxPage() {
  return (
    <Page title="Sandbox">
      <Outlet />
    </Page>
  );
}
