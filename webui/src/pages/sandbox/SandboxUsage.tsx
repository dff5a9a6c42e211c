import { useQuery } from "@tanstack/react-query";
import { useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { sandboxQuery } from "@/api/queries";
import { UsageView } from "@/pages/usage/UsageView";

/** What one sandbox used. */
export default function SandboxUsage() {
  const { sandboxId } = useParams({ from: "/signed-in/sandboxes/$sandboxId" });
  const search = useSearch({ from: "/signed-in/sandboxes/$sandboxId/usage" });
  const navigate = useNavigate({ from: "/sandboxes/$sandboxId/usage" });
  const sandbox = useQuery(sandboxQuery(sandboxId)).data;
  return (
    <UsageView
      of={{ sandboxId }}
      name={sandbox?.name ?? ""}
      search={search}
      onSearch={(wanted) => void navigate({ search: wanted, replace: true })}
    />
  );
}
