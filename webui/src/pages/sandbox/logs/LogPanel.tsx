import { ArrowDown, Download, WrapText } from "lucide-react";
import { useMemo, useState } from "react";
import type { Sandbox } from "@/api/schema.gen";
import { remember, remembered } from "@/lib/storage";
import { Button, buttonClass } from "@/ui/Button";
import { CopyButton } from "@/ui/Copy";
import { MOST_LINES } from "./buffer";
import { FollowLine } from "./FollowLine";
import styles from "./LogPanel.module.css";
import { LogText } from "./LogText";
import { SearchBox } from "./SearchBox";
import { Finder, type Match } from "./search";
import { useLog } from "./use-log";

const WRAP = "log-wrap";

/** The log with what can be done with it. */
export function LogPanel({ sandbox }: { sandbox: Sandbox }) {
  const { state, shown, retry } = useLog(sandbox);
  const [wrap, setWrap] = useState(remembered(WRAP) !== "off");
  const [stuck, setStuck] = useState(true);
  const [query, setQuery] = useState("");
  const [current, setCurrent] = useState<Match | null>(null);
  const finder = useMemo(() => new Finder(query), [query]);
  const found = useMemo(() => finder.all(shown.blocks), [finder, shown.blocks]);
  const turn = () => {
    remember(WRAP, wrap ? "off" : "on");
    setWrap(!wrap);
  };
  const go = (match: Match | null) => {
    setStuck(false);
    setCurrent(match);
  };
  return (
    <div className={styles.panel}>
      <div className={styles.bar}>
        <SearchBox
          query={query}
          found={found}
          current={current}
          onQuery={(text) => {
            setQuery(text);
            setCurrent(null);
          }}
          onGo={go}
        />
        <div className={styles.buttons}>
          <Button size="small" icon={<WrapText aria-hidden="true" />} aria-pressed={wrap} onClick={turn}>
            Wrap
          </Button>
          <CopyButton
            text={() => shown.blocks.map((block) => block.text).join("\n")}
            what="Copy the whole log"
            label="Copy all"
          />
          <a
            className={buttonClass("secondary", "small")}
            href={`/api/sandboxes/${sandbox.id}/logs`}
            download={`${sandbox.name}.log`}
          >
            <Download aria-hidden="true" />
            Download
          </a>
        </div>
      </div>
      <div className={styles.frame}>
        <LogText
          blocks={shown.blocks}
          finder={finder}
          current={current}
          wrap={wrap}
          stuck={stuck}
          onStuck={setStuck}
          before={
            shown.cut > 0
              ? `The first ${shown.cut.toLocaleString()} lines are not shown: this page keeps the last ${MOST_LINES.toLocaleString()} or so.`
              : null
          }
        />
        {!stuck && (
          <Button
            className={styles.tail ?? ""}
            icon={<ArrowDown aria-hidden="true" />}
            onClick={() => setStuck(true)}
          >
            Follow the tail
          </Button>
        )}
      </div>
      <FollowLine state={state} status={sandbox.status} empty={shown.blocks.length === 0} onRetry={retry} />
    </div>
  );
}
