import { Tabs } from "radix-ui";
import { type Downloads, waysToConnect } from "@/lib/agent-commands";
import { CopyBlock } from "@/ui/Copy";
import styles from "./Connect.module.css";

/** The commands, a tab for each way to get the agent. */
export function Ways({ downloads, code }: { downloads: Downloads; code: string }) {
  const ways = waysToConnect(downloads, location.origin, code);
  return (
    <Tabs.Root defaultValue={ways[0]?.way ?? "source"} className={styles.ways}>
      <Tabs.List className={styles.tabs} aria-label="Ways to install the agent">
        {ways.map(({ way, name }) => (
          <Tabs.Trigger key={way} value={way} className={styles.tab}>
            {name}
          </Tabs.Trigger>
        ))}
      </Tabs.List>
      {ways.map(({ way, install, connect, notes }) => (
        <Tabs.Content key={way} value={way} className={styles.way}>
          <p className={styles.note}>
            {way === "source" ? "Install it, with the path of the source's folder:" : "Get the agent, once:"}
          </p>
          <CopyBlock text={install} what="Copy the command that installs" />
          <p className={styles.note}>Connect:</p>
          <CopyBlock text={connect} what="Copy the command that connects" />
          <p className={styles.note}>Needs Python 3.11 or newer. {notes}</p>
        </Tabs.Content>
      ))}
    </Tabs.Root>
  );
}
