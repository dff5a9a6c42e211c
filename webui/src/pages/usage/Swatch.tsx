import { useId } from "react";
import { colourOf, type Look } from "./looks";
import styles from "./Usage.module.css";

/** The texture of a look, to be filled with: `url(#id)`. Lines of the ground's colour over the look's own. */
export function Texture({ id, look }: { id: string; look: Look }) {
  return (
    <pattern id={id} width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
      <rect width="6" height="6" fill={colourOf(look)} />
      <rect width="2" height="6" fill="var(--surface)" opacity="0.4" />
    </pattern>
  );
}

/** A small field of what a model's bars are filled with; `hollow`: it is not in the chart. */
export function Swatch({ look, hollow = false }: { look: Look; hollow?: boolean }) {
  const id = useId();
  const fill = look.striped ? `url(#${id})` : colourOf(look);
  return (
    <svg viewBox="0 0 12 12" className={styles.swatch} aria-hidden="true">
      {look.striped && (
        <defs>
          <Texture id={id} look={look} />
        </defs>
      )}
      <rect
        x="1"
        y="1"
        width="10"
        height="10"
        rx="2"
        fill={hollow ? "none" : fill}
        stroke={colourOf(look)}
        strokeWidth={hollow || look.striped ? 1.5 : 0}
      />
    </svg>
  );
}
