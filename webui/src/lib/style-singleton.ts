import { useEffect } from "react";

// In the place of the package react-style-singleton, which writes <style> elements: our content security policy forbids
// these. An adopted style sheet does the same and needs no permission.

interface Sheet {
  add(css: string): void;
  remove(): void;
}

/** A sheet that is there while somebody uses it. The first one's rules hold. */
export function stylesheetSingleton(): Sheet {
  let users = 0;
  let sheet: CSSStyleSheet | null = null;
  return {
    add(css) {
      if (users === 0) {
        sheet = new CSSStyleSheet();
        sheet.replaceSync(css);
        document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
      }
      users += 1;
    },
    remove() {
      users -= 1;
      if (users === 0 && sheet !== null) {
        const gone = sheet;
        document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== gone);
        sheet = null;
      }
    },
  };
}

/** The same as a hook. */
export function styleHookSingleton() {
  const sheet = stylesheetSingleton();
  return (css: string, dynamic?: boolean) => {
    // biome-ignore lint/correctness/useExhaustiveDependencies: the interface says that changes count only if dynamic
    useEffect(() => {
      sheet.add(css);
      return () => sheet.remove();
    }, [css && dynamic]);
  };
}

/** The same as a component. */
export function styleSingleton() {
  const useStyle = styleHookSingleton();
  return ({ styles, dynamic }: { styles: string; dynamic?: boolean }) => {
    useStyle(styles, dynamic);
    return null;
  };
}
