// On a tablet, upright and lying, by fingers alone: the list is whole, a tap opens a study, fingers turn the slices, zoom and move the
// image, and no view is wider than the screen. Argument: {url, name, password, volume, patient, shots}, the patient that of a film.
import assert from 'node:assert/strict';
import { banner, drawn, frames, open, serious, settings, still, text, until } from './browser.mjs';

const SIZES = [['upright', 820, 1180], ['lying', 1180, 820], ['small', 768, 1024]];
const { page, close } = await open({ width: 820, height: 1180, touch: true });
const fingers = await page.context().newCDPSession(page);
const touch = (type, ...points) => fingers.send('Input.dispatchTouchEvent', { type, touchPoints: points.map(([x, y], id) => ({ x, y, id })) });
/** Fingers that go from where they are put to where they are lifted. */
const stroke = async (from, to, steps = 8) => {
  await touch('touchStart', ...from);
  for (let step = 1; step <= steps; step++) await touch('touchMove', ...from.map(([x, y], at) => [x + ((to[at][0] - x) * step) / steps, y + ((to[at][1] - y) * step) / steps]));
  await touch('touchEnd');
  await frames(page);
};
/** A tap after a stroke: within some 300 ms Chromium takes it for the end of the stroke, and for no click. */
const tapAfterStroke = async (place) => {
  await page.waitForTimeout(1_000);
  await place.tap();
};
/** Turns the tablet, and waits until the page has the size. */
const turn = async (width, height) => {
  await page.setViewportSize({ width, height });
  await page.waitForFunction(([wide, high]) => Math.round(visualViewport.width * visualViewport.scale) === wide && Math.round(visualViewport.height * visualViewport.scale) === high, [width, height]);
};
const look = async (name) => {
  for (const [how, width, height] of SIZES) {
    await turn(width, height);
    await until(async () => assert.ok(await page.evaluate((wide) => document.documentElement.scrollWidth <= wide, width), `${name} ${how} is wider than the screen`));
    if (settings.shots) await page.screenshot({ path: `${settings.shots}/tablet-${name}-${how}.png` });
  }
};

await page.goto(`${settings.url}/worklist`);
await page.waitForSelector('input[name=name]');
await look('sign-in');
await page.locator('input[name=name]').tap();
await page.keyboard.type(settings.name);
await page.locator('input[type=password]').tap();
await page.keyboard.type(settings.password);
await page.locator('.sign-in button').tap();
await page.waitForSelector('.lines .line');
for (const [how, width, height] of SIZES) {
  await turn(width, height);
  await until(async () => {
    const columns = await page.evaluate(() => {
      const seen = (line) => [...line.children].filter((cell) => getComputedStyle(cell).display !== 'none').map((cell) => ({ name: cell.className.split(' ')[0], left: Math.round(cell.getBoundingClientRect().left), right: cell.getBoundingClientRect().right, cut: cell.scrollWidth > cell.clientWidth + 1 }));
      return { head: seen(document.querySelector('.grid .heading .line')), rows: [...document.querySelectorAll('.lines .line')].map(seen), width: document.querySelector('.grid').clientWidth };
    });
    assert.ok(columns.rows.length > 0, 'there are lines');
    const places = (cells) => cells.map(({ name, left }) => `${name} ${left}`).join(', ');
    for (const row of columns.rows) assert.equal(places(row), places(columns.head), `${how}: each cell is below its heading`);
    const names = columns.head.map(({ name }) => name);
    for (const wanted of ['c-urgency', 'c-patient', 'c-id', 'c-study', 'c-state', 'c-readers']) assert.ok(names.includes(wanted), `${how}: ${wanted}`);
    for (const { name, right, cut } of columns.head) assert.ok(right <= columns.width && !cut, `${how}: ${name} is cut`);
  });
}
await look('worklist');
assert.deepEqual(await serious(page), []);

// A tap opens a study, also one that is not chosen yet.
await page.locator('.lines .line', { hasText: settings.patient }).tap();
await page.waitForURL('**/study/**');
await drawn(page);
assert.equal((await text(page, '.patient .whole')).trim(), settings.patient);
await look('film');
// With answers open the images and the findings are still there.
await page.locator('.ask-panel h2 button').tap();
await page.waitForSelector('.ask-body:not([hidden])');
await look('ask');
await until(async () => {
  const [images, report] = [await page.locator('.panes').boundingBox(), await page.locator('.panel .scroll').boundingBox()];
  assert.ok(images.height >= 200 && report.height >= 80, JSON.stringify({ images, report }));
});
await page.locator('.ask-panel h2 button').tap();
await page.waitForSelector('.ask-body', { state: 'hidden' });

// Two fingers zoom and move a film; one sets its window, as a mouse does.
await turn(820, 1180);
const middle = async () => {
  const { x, y, width, height } = await page.locator('.pane .image').first().boundingBox();
  return [x + width / 2, y + height / 2];
};
const told = () => until(async () => {
  const corner = await page.locator('.pane .bottom-left').first().innerText();
  const [, center, width, zoom] = (corner.match(/C (-?\d+) W (\d+) · (\d+) %/) ?? assert.fail(corner)).map(Number);
  return { center, width, zoom };
});
// The image fits itself to its place first.
let [x, y] = await still(page, middle);
// The film's own shades may be a table; a window has numbers.
await page.locator('.tools button', { hasText: 'Contrast' }).tap();
const before = await still(page, told);
await stroke([[x - 40, y], [x + 40, y]], [[x - 120, y + 30], [x + 120, y + 30]]);
const zoomed = await until(async () => {
  const zoomed = await still(page, told);
  assert.ok(zoomed.zoom > before.zoom * 2.5 && zoomed.zoom < before.zoom * 3.5, `${before.zoom} % to ${zoomed.zoom} %`);
  return zoomed;
});
assert.deepEqual([zoomed.center, zoomed.width], [before.center, before.width], 'two fingers set no window');
await stroke([[x, y]], [[x + 60, y + 40]]);
await until(async () => {
  const windowed = await told();
  assert.ok(windowed.width > zoomed.width && windowed.center > zoomed.center && windowed.zoom === zoomed.zoom, JSON.stringify({ zoomed, windowed }));
});
await tapAfterStroke(page.locator('.findings .heading button'));
await page.locator('.sign-bar button.primary:enabled').tap();
await page.locator('.sign-step button.primary:enabled').tap();
await banner(page, 'SIGNED');
await look('signed');

// One finger turns the slices of a stack; so does the line beside it, and two fingers zoom.
await page.goto(`${settings.url}/study/${settings.volume}`);
await drawn(page);
await look('volume');
await turn(820, 1180);
const slice = async () => Number((await page.locator('.pane .bottom-left span').first().innerText()).split('/')[0]);
const count = Number((await page.locator('.pane .bottom-left span').first().innerText()).split('/')[1].split('·')[0]);
await page.keyboard.press('Home');
await page.waitForFunction(() => document.querySelector('.pane .bottom-left span')?.textContent.startsWith('1 /'));
await drawn(page);
[x, y] = await still(page, middle);
const window = await still(page, told);
await stroke([[x, y - 100]], [[x, y + 100]], 20);
await until(async () => {
  const after = await still(page, slice);
  assert.ok(after > 5 && after < count, `slice ${after} of ${count}`);
});
const { x: left, y: top, height } = await page.locator('.track').boundingBox();
await stroke([[left + 1, top + height / 2]], [[left + 1, top + height - 1]]);
await until(async () => assert.equal(await slice(), count));
await drawn(page);
await stroke([[x - 40, y], [x + 40, y]], [[x - 80, y], [x + 80, y]]);
const closer = await until(async () => {
  const closer = await still(page, told);
  assert.ok(closer.zoom > window.zoom * 1.7, `${window.zoom} % to ${closer.zoom} %`);
  return closer;
});
assert.equal(await slice(), count, 'two fingers turn no slice');
assert.deepEqual([closer.center, closer.width], [window.center, window.width]);
await tapAfterStroke(page.locator('.tools button', { hasText: 'Bone' }));
await page.waitForFunction((was) => !document.querySelector('.pane .bottom-left')?.textContent.includes(`C ${was} `), window.center);

await page.goto(`${settings.url}/agreement`);
await page.waitForSelector('.agreement tbody tr');
await look('agreement');
for (const [how, width, height] of SIZES) {
  await turn(width, height);
  await until(async () => assert.ok(await page.locator('.agreement').evaluate((view) => view.scrollWidth <= view.clientWidth), `agreement ${how} is cut`));
}
await close();
