import type { ReactNode } from "react";
import styles from "./DataTable.module.css";
import table from "./Table.module.css";

export interface Column<T> {
  title: string;
  cell: (row: T) => ReactNode;
  /**
   * `main`: what the row is about, the head of its card on a phone; `number`: at the right, in a narrow column;
   * `short`: a word or two, in a narrow column; `actions`: what can be done, at the end of the row, its title for screen readers only.
   */
  kind?: "main" | "number" | "short" | "text" | "actions";
}

export interface DataTableProps<T> {
  label: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  rowKey: (row: T) => string;
}

/** Rows with columns; where there is little room, as on a phone, each row becomes a card. */
export function DataTable<T>({ label, columns, rows, rowKey }: DataTableProps<T>) {
  return (
    <div className={`${table.framed} ${styles.frame}`}>
      <table className={`${table.table} ${styles.table}`} aria-label={label}>
        <thead>
          <tr>
            {columns.map(({ title, kind = "text" }) => (
              <th key={title} scope="col" className={styles[kind]}>
                {kind === "actions" ? <span className="off-screen">{title}</span> : title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)}>
              {columns.map(({ title, cell, kind = "text" }) =>
                kind === "main" ? (
                  <th key={title} scope="row" className={styles.main}>
                    {cell(row)}
                  </th>
                ) : (
                  <td key={title} className={styles[kind]} data-title={title}>
                    {cell(row)}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
