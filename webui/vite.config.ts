import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath, URL } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Puts `name.br` and `name.gz` beside every text file, so that the server compresses nothing itself. */
function compressed(): Plugin {
  const brotli = promisify(brotliCompress);
  const gzipped = promisify(gzip);
  return {
    name: "compressed",
    apply: "build",
    async writeBundle(options, bundle) {
      const folder = options.dir ?? "";
      const names = Object.keys(bundle).filter((name) => /\.(js|css|html|svg|json)$/.test(name));
      for (const name of [...names, "theme.js", "favicon.svg"]) {
        const data = await readFile(`${folder}/${name}`);
        const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } };
        await writeFile(`${folder}/${name}.br`, await brotli(data, quality));
        await writeFile(`${folder}/${name}.gz`, await gzipped(data, { level: 9 }));
      }
    },
  };
}

const DAEMON = "http://localhost:8080";
/** For `npm run dev`: the daemon takes changes from pages of its own origin only, so that is what is said. */
const daemon = {
  target: DAEMON,
  changeOrigin: true,
  headers: { origin: DAEMON, "sec-fetch-site": "same-origin" },
};

export default defineConfig({
  plugins: [react(), compressed()],
  resolve: {
    alias: {
      "@": here("./src"),
      // The library writes style elements, which our policy forbids; ours does the same by adopted style sheets.
      "react-style-singleton": here("./src/lib/style-singleton.ts"),
    },
  },
  build: {
    outDir: here("../daemon/webroot"),
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    // One small file. In parts, one that failed to come once would never be asked for again, and its page would stay bare.
    cssCodeSplit: false,
    chunkSizeWarningLimit: 600,
    manifest: "build.json",
  },
  worker: { format: "es" },
  server: { proxy: { "/api": daemon, "/agent": daemon } },
  test: { environment: "node", include: ["src/**/*.test.{ts,tsx}"], restoreMocks: true },
});
