import { useQueries, useQuery } from "@tanstack/react-query";
import { Command } from "cmdk";
import { Search, X } from "lucide-react";
import { type KeyboardEvent, useState } from "react";
import { wordsOf } from "@/api/errors";
import { meQuery, sandboxesQuery, workspacesQuery } from "@/api/queries";
import type { Sandbox } from "@/api/schema.gen";
import { useStore } from "@/lib/store";
import { theme } from "@/lib/theme";
import { useWorkspace } from "@/shell/workspace";
import { IconButton } from "@/ui/Button";
import { Dialog } from "@/ui/Dialog";
import { closeDialog } from "./dialogs";
import styles from "./Palette.module.css";
import { found, type Item, type Known, offerItems, rootItems, sandboxItems } from "./palette/items";
import { PaletteItem } from "./palette/PaletteItem";
import { useDeeds } from "./palette/useDeeds";

const TITLE = "Search and commands";

/** Everything that can be done, found by its name. */
export default function Palette() {
  const { known, trouble, loading } = useKnown();
  const [typed, setTyped] = useState("");
  const [entered, setEntered] = useState<string | null>(null);
  const carryOut = useDeeds();
  const sandbox = known.sandboxes.find(({ id }) => id === entered);

  const enter = (id: string | null) => {
    setEntered(id);
    setTyped("");
  };
  const choose = ({ deed }: Item) => (deed.kind === "enter" ? enter(deed.sandboxId) : carryOut(deed));
  const back = () => {
    enter(null);
    return sandbox !== undefined;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Backspace" && typed === "" && back()) event.preventDefault();
  };
  const items = sandbox ? sandboxItems(known, sandbox) : [...rootItems(known), ...offerItems(known, typed)];
  return (
    <Dialog title={TITLE} bare wide onEscape={back} onClose={closeDialog}>
      <Command label={TITLE} shouldFilter={false} loop onKeyDown={onKeyDown} className={styles.palette}>
        <Head sandbox={sandbox} typed={typed} onType={setTyped} onBack={back} />
        <Command.List className={styles.list} label={sandbox ? `With ${sandbox.name}` : "What there is"}>
          <Command.Empty className={styles.word}>
            {loading
              ? "Loading the sandboxes…"
              : `Nothing here matches “${typed}”. Sandboxes, pages and commands are found by a part of their name.`}
          </Command.Empty>
          {found(items, typed).map(({ group, items: some }) => (
            <Command.Group
              key={group}
              heading={sandbox ? `With ${sandbox.name}` : group}
              className={styles.group}
            >
              {some.map((item) => (
                <PaletteItem key={item.id} item={item} onChoose={() => choose(item)} />
              ))}
            </Command.Group>
          ))}
        </Command.List>
        {trouble !== null && (
          <p role="alert" className={styles.word}>
            Some sandboxes are missing here. {wordsOf(trouble)}
          </p>
        )}
        <Foot inside={sandbox !== undefined} />
      </Command>
    </Dialog>
  );
}

interface HeadProps {
  sandbox: Sandbox | undefined;
  typed: string;
  onType: (typed: string) => void;
  onBack: () => void;
}

function Head({ sandbox, typed, onType, onBack }: HeadProps) {
  return (
    <div className={styles.head}>
      {sandbox ? (
        <button type="button" className={styles.entered} onClick={onBack}>
          <span className="off-screen">Back to everything, from </span>
          <span className={styles.name}>{sandbox.name}</span>
          <X aria-hidden="true" />
        </button>
      ) : (
        <Search aria-hidden="true" />
      )}
      <Command.Input
        // The field is the same, and the focus stays in it.
        value={typed}
        onValueChange={onType}
        placeholder={sandbox ? "What to do with it" : "A sandbox, a page, a command"}
        className={styles.input}
      />
      <IconButton label="Close" size="small" onClick={closeDialog}>
        <X aria-hidden="true" />
      </IconButton>
    </div>
  );
}

function Foot({ inside }: { inside: boolean }) {
  return (
    <p className={styles.foot}>
      <span>
        <kbd>↑</kbd> <kbd>↓</kbd> move
      </span>
      <span>
        <kbd>Enter</kbd> choose
      </span>
      <span>
        <kbd>Esc</kbd> {inside ? "back" : "close"}
      </span>
    </p>
  );
}

/** What the palette can offer: the sandboxes of all workspaces, and where one is. */
function useKnown(): { known: Known; trouble: Error | null; loading: boolean } {
  const workspaces = useQuery(workspacesQuery).data ?? [];
  const lists = useQueries({ queries: workspaces.map(({ id }) => sandboxesQuery(id)) });
  const known: Known = {
    isAdmin: useQuery(meQuery).data?.isAdmin ?? false,
    workspace: useWorkspace(),
    workspaces,
    sandboxes: lists.flatMap(({ data }) => data ?? []),
    theme: useStore(theme),
  };
  return {
    known,
    trouble: lists.find(({ error, data }) => error !== null && data === undefined)?.error ?? null,
    loading: lists.some(({ isPending }) => isPending),
  };
}
