// The worklist with many studies: all scroll, few are drawn, the chosen row stays where it is while others come, filters are in the
// address, and long names are told in full. Argument: {url, name, password, count, long, japanese}, `long` the ID of a patient whose name
// and study have long names, `japanese` that of one whose name has no Latin form; a line on stdin lets it go on once another study has come.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { frames, open, settings, signIn, still, text } from './browser.mjs';

const { page, close } = await open();
// A name is taken as phones write it.
await signIn(page, '/worklist?order=newest', { ...settings, name: `${settings.name.charAt(0).toUpperCase()}${settings.name.slice(1)} ` });
await page.waitForFunction((count) => Number(document.querySelector('.foot')?.textContent.match(/^[\d,]+/)?.[0].replaceAll(',', '')) >= count, settings.count);
const lines = () => page.locator('.lines .line').count();
assert.ok((await lines()) < 80, `${await lines()} rows are drawn`);

const { worst, seen } = await page.evaluate(async () => {
  const list = document.querySelector('.grid');
  const seen = new Set();
  let [worst, last] = [0, performance.now()];
  for (let y = 0; y <= list.scrollHeight; y += 200) {
    list.scrollTop = y;
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    for (const row of list.querySelectorAll('.lines .line')) seen.add(row.getAttribute('aria-rowindex'));
    const now = performance.now();
    worst = Math.max(worst, now - last);
    last = now;
  }
  return { worst, seen: seen.size };
});
assert.equal(seen, settings.count);
console.error(`the slowest step of the scroll took ${Math.round(worst)} ms`);

await page.keyboard.press('Home');
for (let step = 0; step < 30; step++) await page.keyboard.press('j');
const chosen = page.locator('.lines .line[aria-selected=true]');
const place = async () => ({ id: await chosen.locator('.c-id').innerText(), y: (await chosen.boundingBox()).y });
const before = await still(page, place);
// What happens before the page hears of it, it is not told.
await page.waitForSelector('.foot .live');
// More tabs than a browser opens connections are all live, and what passes no filter is not counted.
const tabs = [];
for (const address of Array(7).fill('/worklist?modality=CT')) {
  const tab = await page.context().newPage();
  await tab.goto(settings.url + address);
  await tab.waitForSelector('.foot .live');
  tabs.push(tab);
}
await page.bringToFront();
console.log('send one more');
await once(process.stdin, 'data');
await page.waitForFunction((count) => document.querySelector('.foot')?.textContent.startsWith((count + 1).toLocaleString('en')), settings.count);
// It moves in none of the drawings that follow.
await frames(page, 10);
const after = await place();
assert.equal(after.id, before.id);
assert.ok(Math.abs(after.y - before.y) <= 1, `the row moved from ${before.y} to ${after.y}`);
const row = Number(await chosen.getAttribute('aria-rowindex'));

// A key is what stands on it in Latin letters, where its own alphabet has another.
for (const [key, code] of [['о', 'KeyJ'], ['ن', 'KeyJ'], ['λ', 'KeyK']]) await chosen.evaluate((row, event) => row.closest('.grid').dispatchEvent(new KeyboardEvent('keydown', { ...event, bubbles: true, cancelable: true })), { key, code });
assert.equal(Number(await chosen.getAttribute('aria-rowindex')), row + 1, 'two down and one up');
await page.keyboard.press('k');

for (const tab of tabs) {
  await tab.waitForFunction(() => document.querySelector('.foot')?.textContent.startsWith('0 studies'));
  assert.match(await text(tab, '.states button'), /^All 0$/);
  await tab.close();
}

// Each search is on record: it is made when typing pauses.
const searches = [];
page.on('request', (request) => { if (request.url().includes('/api/studies?')) searches.push(request.url()); });
await page.keyboard.press('/');
await page.keyboard.type(before.id);
await page.waitForFunction(() => document.querySelector('.foot')?.textContent.startsWith('1 study'));
assert.ok(searches.length <= 2, searches.join());
await page.waitForURL((url) => url.searchParams.get('text') === before.id);
await page.reload();
await page.waitForFunction(() => document.querySelector('.foot')?.textContent.startsWith('1 study'));
assert.equal(await text(page, '.lines .line .c-id'), before.id);
// A name is found as it is shown, with its comma.
await page.keyboard.press('/');
await page.keyboard.type(await text(page, '.lines .line .c-patient'));
await page.waitForFunction(() => new URL(location.href).searchParams.get('text')?.endsWith(', Given'));
await page.waitForFunction(() => document.querySelector('.foot')?.textContent.startsWith('1 study') && document.querySelector('.grid')?.ariaBusy === 'false');
await page.keyboard.press('Escape');
await page.keyboard.press('x');
await page.waitForURL('**/worklist');

// What was asked for at once comes before all that is in its turn, and says who says so.
await page.waitForFunction((count) => document.querySelector('.foot')?.textContent.startsWith((count + 1).toLocaleString('en')), settings.count);
await page.keyboard.press('Home');
await page.waitForFunction((id) => document.querySelector('#row-0 .c-id')?.textContent === id, settings.long);
const urgent = page.locator('#row-0 .c-urgency');
assert.deepEqual([await urgent.textContent(), await urgent.getAttribute('title')], ['STAT requested', 'STAT: requested']);
await page.goto(`${settings.url}/worklist?urgency=critical`);
await page.waitForFunction(() => document.querySelector('.foot')?.textContent.startsWith('1 study'));
assert.equal(await text(page, '.lines .line .c-id'), settings.long);
await page.keyboard.press('x');

// An address says what is shown: one state alone, a kind of device in small letters, ages from and to.
for (const [query, found] of [['state=skipped', settings.count + 1], ['state=signed', 0], ['modality=dx', settings.count + 1], ['years=50-50', 1], ['years=18-49', 0]]) {
  await page.goto(`${settings.url}/worklist?${query}`);
  await page.waitForFunction((count) => document.querySelector('.foot')?.textContent.startsWith(`${count.toLocaleString('en')} `) && document.querySelector('.grid')?.ariaBusy === 'false', found);
}
await page.keyboard.press('x');

// Who has no name in Latin letters has one nevertheless.
await page.goto(`${settings.url}/worklist?text=${settings.japanese}`);
await page.waitForFunction(() => document.querySelector('.foot')?.textContent.startsWith('1 study'));
assert.equal(await text(page, '.lines .c-patient'), '山田, 花子 / やまだ, はなこ');
assert.equal(await page.locator('.lines .c-patient').getAttribute('dir'), 'auto');
await page.keyboard.press('x');

// At the width of a small screen what names the study of a patient is told in full, on two lines at most.
await page.waitForURL('**/worklist');
await page.keyboard.press('/');
await page.keyboard.type(settings.long);
await page.waitForURL((url) => url.searchParams.get('text') === settings.long);
await page.waitForFunction(() => document.querySelector('.foot')?.textContent.startsWith('1 study') && document.querySelector('.grid')?.ariaBusy === 'false');
for (const cell of ['patient', 'id', 'study', 'site']) {
  const { cut, said, title } = await page.locator(`.lines .c-${cell}`).evaluate((each) => ({ cut: each.scrollHeight > each.clientHeight + 1 || each.scrollWidth > each.clientWidth + 1, said: each.textContent, title: each.title }));
  assert.ok(!cut && said !== '', `${cell} is cut: ${said} (${title})`);
}
assert.match(await text(page, '.lines .c-patient'), /, Dr\. Maximiliane Theodora Maria MD$/);
if (settings.shots) await page.screenshot({ path: `${settings.shots}/long-names.png` });
await page.keyboard.press('Escape');
process.stdin.destroy();
await close();
