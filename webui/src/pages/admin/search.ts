/** What the address bar says of the lists: what is looked for in them. */
export interface ListSearch {
  q?: string;
}

export function listSearch(search: Record<string, unknown>): ListSearch {
  // A number that was typed comes back from the address as one.
  const q = typeof search.q === "number" ? String(search.q) : search.q;
  return typeof q === "string" && q !== "" ? { q } : {};
}

/** Of which entries of the audit log. */
export interface AuditSearch {
  action?: string;
  actor?: string;
  outcome?: string;
}

export function auditSearch(search: Record<string, unknown>): AuditSearch {
  const { action, outcome } = search;
  const actor = typeof search.actor === "number" ? String(search.actor) : search.actor;
  return {
    ...(typeof action === "string" && action !== "" && { action }),
    ...(typeof actor === "string" && actor !== "" && { actor }),
    ...(typeof outcome === "string" && outcome !== "" && { outcome }),
  };
}
