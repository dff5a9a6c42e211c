import type { Sandbox } from "@/api/schema.gen";
import { copyText } from "@/lib/clipboard";
import { notify } from "@/ui/Toasts";

export async function copyAddress(sandbox: Pick<Sandbox, "name" | "url">): Promise<void> {
  if (await copyText(sandbox.url)) notify(`The address of ${sandbox.name} is copied.`);
  else notify(`The browser does not let this page copy. The address is ${sandbox.url}`, "bad");
}
