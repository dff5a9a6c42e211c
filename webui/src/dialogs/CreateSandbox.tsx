import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useId, useState } from "react";
import { api, dataOf } from "@/api/client";
import { fieldWords, wordsOf } from "@/api/errors";
import { keys, serverQuery } from "@/api/queries";
import type { Sandbox, WantedSandbox } from "@/api/schema.gen";
import { focusRow } from "@/pages/sandboxes/row-focus";
import { Button } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { TextField } from "@/ui/Field";
import { Loaded } from "@/ui/Loaded";
import { Notice } from "@/ui/Notice";
import styles from "./create/Fields.module.css";
import { SizeField } from "./create/SizeField";
import { sizes } from "./create/sizes";
import { TimeoutField } from "./create/TimeoutField";
import { NOTHING_CHOSEN, type Wanted, wantedBody } from "./create/wanted";
import { closeDialog } from "./dialogs";

const FIELDS = ["name", "cpu", "memory", "idleTimeout"] as const;

export default function CreateSandbox({ workspaceId }: { workspaceId: string }) {
  const form = useId();
  const server = useQuery(serverQuery);
  const [wanted, setWanted] = useState<Wanted>(NOTHING_CHOSEN);
  const create = useCreate(workspaceId);
  const navigate = useNavigate();
  const change = (part: Partial<Wanted>) => setWanted((before) => ({ ...before, ...part }));
  const fault = (field: (typeof FIELDS)[number]) => fieldWords(create.error, field);
  const elsewhere = create.error !== null && FIELDS.every((field) => fault(field) === undefined);
  const goTo = (sandboxId: string) => {
    focusRow(sandboxId);
    closeDialog();
    void navigate({ to: "/w/$workspaceId/sandboxes", params: { workspaceId } });
  };
  const send = (event: FormEvent) => {
    event.preventDefault();
    if (create.isPending || !server.data) return;
    create.mutate(wantedBody(wanted, sizes(server.data.limits)), { onSuccess: ({ id }) => goTo(id) });
  };
  return (
    <Dialog
      title="New sandbox"
      onClose={closeDialog}
      footer={
        <>
          <Button onClick={closeDialog}>Cancel</Button>
          <Button kind="primary" type="submit" form={form} pending={create.isPending} disabled={!server.data}>
            Create
          </Button>
        </>
      }
    >
      <form id={form} className={styles.fields} onSubmit={send}>
        <TextField
          label="Name"
          value={wanted.name}
          onChange={(event) => change({ name: event.target.value })}
          error={fault("name")}
          hint="What it is for. Left empty, the server makes one up; it can be changed later."
          maxLength={100}
          autoComplete="off"
        />
        <Loaded query={server} what="the sizes">
          {({ limits, backend }) => (
            <>
              <SizeField wanted={wanted} change={change} limits={limits} backend={backend} fault={fault} />
              <TimeoutField
                wanted={wanted}
                change={change}
                servers={limits.idleTimeout}
                error={fault("idleTimeout")}
              />
            </>
          )}
        </Loaded>
      </form>
      {elsewhere && <Notice tone="bad">{wordsOf(create.error)}</Notice>}
    </Dialog>
  );
}

/** Makes it; its row is there at once, with the status that the server said. */
function useCreate(workspaceId: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: WantedSandbox) =>
      dataOf(
        api.POST("/api/workspaces/{workspaceId}/sandboxes", { params: { path: { workspaceId } }, body }),
      ),
    onSuccess: (made) => {
      client.setQueryData<Sandbox[]>(keys.sandboxes(workspaceId), (list) =>
        // Its event may have been quicker than this answer, and may say something newer.
        list === undefined || list.some((one) => one.id === made.id) ? list : [...list, made],
      );
      void client.invalidateQueries({ queryKey: keys.sandboxes(workspaceId) });
    },
  });
}
