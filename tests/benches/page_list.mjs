// The worklist of the reading room with many studies: when its first rows are there, when all are that it loads, how long a search
// takes until its rows are shown, and frame times of scrolling by the wheel and of moving by key. Started by page.py, with
// {url, name, password, text, matches}: a search that so many studies answer to.
import { open, settings, signIn } from '../page/browser.mjs';

const { page, close } = await open({ width: 1600, height: 1000 });
await signIn(page);
await page.waitForSelector('.lines .line');
// Anew, as somebody who is signed in opens it, with the program in the browser's cache.
await page.goto('about:blank');
await page.goto(`${settings.url}/worklist`, { waitUntil: 'commit' });
/** When something is first true, in ms since the page was asked for. */
const until = (what) =>
  page.evaluate(`new Promise((resolve) => {
    const look = () => (${what} ? resolve(performance.now()) : requestAnimationFrame(look));
    look();
  })`);
const first = await until("document.querySelector('.lines .line') !== null");
const all = await until("document.querySelector('.foot') !== null && !document.querySelector('.foot').textContent.includes('loading')");
const rows = Number((await page.locator('.foot').innerText()).match(/[\d,]+/)[0].replaceAll(',', ''));
await page.waitForTimeout(300);

/** Frame times in ms, sorted, while something moves with each frame. */
const frames = (move, count) =>
  page.evaluate(`(async () => {
    const found = [];
    await new Promise(requestAnimationFrame);
    let last = performance.now();
    for (let at = 0; at < ${count}; at++) {
      ${move};
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      found.push(now - last);
      last = now;
    }
    return found.sort((a, b) => a - b);
  })()`);
const scroll = await frames("document.querySelector('.grid').scrollTop += 170", 300);
await page.evaluate(() => { document.querySelector('.grid').scrollTop = 0; });
const keys = await frames("dispatchEvent(new KeyboardEvent('keydown', { key: 'j', bubbles: true }))", 120);

// From the last key of a search to its rows.
const searches = [];
for (let round = 0; round < 3; round++) {
  const took = await page.evaluate(
    async ([text, matches]) => {
      const box = document.querySelector('.filters input[type=search]');
      box.value = text;
      const began = performance.now();
      box.dispatchEvent(new InputEvent('input', { bubbles: true }));
      const foot = document.querySelector('.foot');
      while (!(foot.textContent.startsWith(`${matches.toLocaleString('en')} `) && !foot.textContent.includes('loading'))) await new Promise(requestAnimationFrame);
      return performance.now() - began;
    },
    [settings.text, settings.matches],
  );
  searches.push(took);
  await page.evaluate(() => {
    const box = document.querySelector('.filters input[type=search]');
    box.value = '';
    box.dispatchEvent(new InputEvent('input', { bubbles: true }));
  });
  await page.waitForFunction((count) => document.querySelector('.foot').textContent.startsWith(`${count.toLocaleString('en')} `) && !document.querySelector('.foot').textContent.includes('loading'), rows, { timeout: 60_000 });
}
const at = (list, share) => Number(list[Math.min(list.length - 1, Math.floor(list.length * share))].toFixed(1));
const told = (list) => ({ p50: at(list, 0.5), p95: at(list, 0.95), p99: at(list, 0.99), most: at(list, 1) });
console.log(JSON.stringify({ first_rows_ms: Math.round(first), all_rows_ms: Math.round(all), rows, search_ms: at(searches.sort((a, b) => a - b), 0.5), scroll_frame_ms: told(scroll), key_frame_ms: told(keys) }));
await close();
