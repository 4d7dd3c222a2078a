// The reading room page on a CT: frame times of a scroll through all slices, of a window step, of a jump to a finding, and how long
// the first image takes. Started by page.py, with {url, name, password, study, slices, gl}.
import { drawn, open, settings, signIn } from '../page/browser.mjs';

const { page, close } = await open({ gl: settings.gl, width: 1600, height: 1000 });
await signIn(page);
await page.waitForSelector('.lines .line');
const began = Date.now();
await page.goto(`${settings.url}/study/${settings.study}?rendering=${settings.gl ? 'gl' : 'cpu'}`);
await drawn(page);
const first = Date.now() - began;
// Until all slices are here, and each was decoded by the server.
await page.waitForFunction(() => !document.querySelector('.top-right')?.textContent.includes('loaded'), undefined, { timeout: 120_000 });
await page.waitForTimeout(500);
const loaded = Date.now() - began;

/** Presses a key again and again, each time after the frame that came of the last: times from key to frame, in ms. */
const times = (key, count) =>
  page.evaluate(
    async ([pressed, steps]) => {
      const pane = document.querySelector('.pane');
      const image = pane.querySelector('.image');
      const found = [];
      for (let step = 0; step < steps; step++) {
        const drawn = new Promise((resolve) => image.addEventListener('CORNERSTONE_IMAGE_RENDERED', resolve, { once: true }));
        const at = performance.now();
        dispatchEvent(new KeyboardEvent('keydown', { key: pressed[step % pressed.length], bubbles: true }));
        await drawn;
        await new Promise(requestAnimationFrame);
        found.push(performance.now() - at);
      }
      return found.sort((a, b) => a - b);
    },
    [key, count],
  );

await page.keyboard.press('Home');
await page.waitForTimeout(300);
const scroll = await times(['ArrowDown'], settings.slices - 1);
const window = await times(['1', '2', '3'], 60);
const at = (list, share) => Number(list[Math.min(list.length - 1, Math.floor(list.length * share))].toFixed(1));
const told = (list) => ({ p50: at(list, 0.5), p95: at(list, 0.95), p99: at(list, 0.99), most: at(list, 1) });
console.log(JSON.stringify({ first_image_ms: first, all_slices_ms: loaded, scroll_ms: told(scroll), window_ms: told(window) }));
await close();
