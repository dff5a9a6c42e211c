import { Command } from "cmdk";
import {
  ArrowRight,
  Box,
  Check,
  Copy,
  ExternalLink,
  FileText,
  Laptop,
  LogOut,
  type LucideIcon,
  Pause,
  Pencil,
  Play,
  Plus,
  SunMoon,
  Trash2,
} from "lucide-react";
import type { Offer } from "@/api/offers";
import { Status } from "@/ui/Status";
import type { Deed, Item } from "./items";
import styles from "./PaletteItem.module.css";

const OFFERS: Record<Offer, LucideIcon> = {
  open: ExternalLink,
  resume: Play,
  pause: Pause,
  rename: Pencil,
  copy: Copy,
  logs: FileText,
  delete: Trash2,
};

const DEEDS: Record<Exclude<Deed["kind"], "offer">, LucideIcon> = {
  enter: Box,
  go: ArrowRight,
  dialog: Plus,
  theme: SunMoon,
  "sign-out": LogOut,
};

function iconOf({ deed, checked }: Item): LucideIcon {
  if (checked) return Check;
  if (deed.kind === "offer") return OFFERS[deed.offer];
  if (deed.kind === "dialog" && deed.dialog.kind === "connect-machine") return Laptop;
  return DEEDS[deed.kind];
}

export function PaletteItem({ item, onChoose }: { item: Item; onChoose: () => void }) {
  const { id, text, detail, status, checked } = item;
  const Icon = iconOf(item);
  return (
    <Command.Item value={id} onSelect={onChoose} className={styles.item}>
      <Icon aria-hidden="true" />
      <span className={styles.text}>{text}</span>
      {checked && <span className="off-screen">, chosen</span>}
      {detail !== undefined && <span className={styles.detail}>{detail}</span>}
      {status !== undefined && (
        <span className={styles.status}>
          <Status status={status} />
        </span>
      )}
    </Command.Item>
  );
}
