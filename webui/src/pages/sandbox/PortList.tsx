import { ExternalLink } from "lucide-react";
import { openHref } from "@/api/sandbox-acts";
import type { Sandbox } from "@/api/schema.gen";
import { buttonClass } from "@/ui/Button";
import { CopyText } from "@/ui/Copy";
import table from "@/ui/Table.module.css";
import styles from "./Ports.module.css";

interface Port {
  port: number;
  url: string;
}

/** What listens, each with its address. By way of the main site, which lets one in. */
export function PortList({ sandbox, ports }: { sandbox: Sandbox; ports: readonly Port[] }) {
  return (
    <div className={table.framed}>
      <table className={`${table.table} ${styles.ports}`}>
        <thead>
          <tr>
            <th scope="col">Port</th>
            <th scope="col">Address</th>
            <th scope="col">
              <span className="off-screen">Open</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {ports.map(({ port, url }) => (
            <tr key={port}>
              <td className="mono">{port}</td>
              <td>
                <CopyText text={url} what={`Copy the address of port ${port}`} />
              </td>
              <td className={styles.open}>
                <a
                  className={buttonClass("secondary", "small")}
                  href={openHref(sandbox, url)}
                  target="_blank"
                  rel="noreferrer"
                  aria-label={`Open port ${port}`}
                >
                  <ExternalLink aria-hidden="true" />
                  Open
                </a>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
