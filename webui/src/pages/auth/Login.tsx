import { Page } from "@/ui/Page";

export default function Login() {
  return <Page title="Sign in">…</Page>;
}
