import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// The build is committed and compared byte by byte: nothing in it may depend on the machine or the day.
export default defineConfig({
  base: '/',
  // The types are checked by `tsc`; the JSX is Preact's.
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  resolve: {
    alias: {
      // The package, not Node's module of that name, which the page does not have.
      events: 'events/',
      // vtk.js writes XML files with it; no part of the page does.
      xmlbuilder2: at('src/stubs/xmlbuilder2.ts'),
    },
  },
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    outDir: 'dist',
    emptyOutDir: true,
    // Files in the policy's own origin only: nothing is inlined as data.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 4096,
  },
});
