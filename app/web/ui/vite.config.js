import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// `npm run dev` shows the pages with the API and the SIP socket of a server that runs already.
const server = process.env.WHIMBREL_URL ?? 'https://localhost:8443';

export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: '../dist',
    emptyOutDir: true,
    // The pages' security policy takes nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
    chunkSizeWarningLimit: 800,
  },
  server: {
    proxy: {
      '/api': { target: server, secure: false },
      '/sip': { target: server, secure: false, ws: true },
    },
  },
  test: { include: ['src/**/*.test.ts'] },
});
