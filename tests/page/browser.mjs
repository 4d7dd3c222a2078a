// Chromium on the reading room page, and what every visit is watched for: requests to other hosts, violations of the
// content-security policy, errors in scripts.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

const require = createRequire(new URL('../../target/browser/', import.meta.url));
const { chromium } = require('playwright-core');
const axe = require('axe-core');

export const settings = JSON.parse(process.argv[2] ?? '{}');

/** How long what must come may take, in ms: a machine may be busy with other things, too. */
const PATIENCE_MS = 60_000;

const GL = ['--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'];

/** All that were opened, for who looks into a failure. */
export const visits = [];

/** `also` are origins that the page may go to beside its own; `touch` is for a tablet, which has fingers and no mouse. */
export async function open({ gl = false, width = 1280, height = 800, also = [], touch = false } = {}) {
  const flags = ['--no-sandbox', '--disable-dev-shm-usage', ...(gl ? GL : [])];
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: flags, timeout: PATIENCE_MS });
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: 'dark', reducedMotion: 'reduce', ignoreHTTPSErrors: true, hasTouch: touch, isMobile: touch });
  // Also for pages that are opened later.
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const wrong = [];
  visits.push(page);
  const own = [new URL(settings.url).origin, ...also];
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    if (!['blob:', 'data:'].includes(protocol) && !own.includes(origin)) wrong.push(`a request to ${request.url()}`);
  });
  page.on('pageerror', (error) => wrong.push(`an error: ${error.stack}`));
  page.on('dialog', (dialog) => {
    if (dialog.type() !== 'beforeunload') wrong.push(`a dialog: ${dialog.message()}`);
    void dialog.accept();
  });
  await page.exposeFunction('told', (text) => wrong.push(text));
  await page.addInitScript(() => addEventListener('securitypolicyviolation', (event) => window.told(`against the policy: ${event.violatedDirective} ${event.blockedURI}`)));
  return {
    page,
    /** Ends the visit; fails where something went wrong in it. */
    async close() {
      // What went wrong last, which nothing may have, is told a moment later.
      await page.waitForTimeout(100);
      await page.unrouteAll({ behavior: 'ignoreErrors' });
      await browser.close();
      assert.deepEqual(wrong, []);
    },
  };
}

/** Signs in with the keyboard alone. */
export async function signIn(page, path = '/worklist', who = settings) {
  await page.goto(settings.url + path);
  await page.waitForSelector('input[name=name]');
  await page.keyboard.type(who.name);
  await page.keyboard.press('Tab');
  await page.keyboard.type(who.password);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.top');
}

/** Looks until nothing is wrong with what is found, and answers what `look` answers: what must come may take its time. Fails as the last
 *  look did. For what becomes true alone: what must not happen is looked for once, after it would have. */
export async function until(look) {
  const began = Date.now();
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (Date.now() - began > PATIENCE_MS) throw error;
    }
    await pause(50);
  }
}

/** Waits until the page was drawn so many times: by then it shows what came of all before, however slow the machine is. */
export const frames = (page, count = 5) => page.evaluate(async (times) => {
  for (let time = 0; time < times; time++) await new Promise(requestAnimationFrame);
}, count);

/** What is found once it stays as it is from drawing to drawing: places and sizes settle over some of them. */
export async function still(page, look) {
  let [found, same] = [await look(), 0];
  for (let round = 0; round < 200 && same < 2; round++) {
    await frames(page);
    const next = await look();
    same = isDeepStrictEqual(next, found) ? same + 1 : 0;
    found = next;
  }
  assert.ok(same >= 2, `it does not come to rest: ${JSON.stringify(found)}`);
  return found;
}

/** Waits until an image is drawn, and the first finding is chosen where there is one. */
export const drawn = (page, panes = 1) => page.waitForFunction((count) => {
  const isChosen = document.querySelector('.finding') === null || document.querySelector('.finding.chosen') !== null;
  return isChosen && document.querySelectorAll('.pane[data-ready=true]').length >= count;
}, panes);

/** Gives what settles once the view that is opened next hears of what changes: what happens before, it is not told. Of a stream that
 * tabs share nothing is seen here, so it has its own. */
export async function follows(page) {
  await page.addInitScript(() => { Reflect.deleteProperty(window, 'SharedWorker'); });
  const heard = page.waitForResponse('**/api/events');
  // Who fails before that says why.
  heard.catch(() => undefined);
  return () => heard;
}

/** Waits until edits are kept. A change takes the words away at once that say so, until it is kept itself. */
export const kept = (page) => page.waitForFunction(() => document.querySelector('.saved')?.textContent.startsWith('kept'));

/** Waits until the banner says so. */
export const banner = (page, wanted) => page.waitForFunction((words) => document.querySelector('.banner strong')?.textContent === words, wanted);

/** Opens the step to sign, once the report can be signed, and waits until what it shows can be. */
export async function toSign(page) {
  await page.waitForSelector('.sign-bar button.primary:enabled');
  await page.keyboard.press('s');
  await page.waitForSelector('.sign-step button.primary:enabled');
}

/** Asks in the panel: once the question before is on its way, and it is known that somebody answers. */
export async function ask(page, question) {
  // In the box itself, where the focus is after a question, it is a letter.
  await page.keyboard.press('Escape');
  await page.keyboard.press('q');
  await until(async () => assert.equal(await page.locator('.ask-form textarea').inputValue(), ''));
  await page.keyboard.type(question);
  await page.waitForSelector('.ask-form button.primary:enabled');
  await page.keyboard.press('Enter');
}

/** Has the image described, once it is known that somebody does; also while the panel is closed. */
export async function describe(page) {
  await page.locator('.ask-form button:enabled', { hasText: 'Describe' }).waitFor({ state: 'attached' });
  await page.keyboard.press('v');
}

/** What axe calls serious or critical on the page as it is. */
export async function serious(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const found = violations.filter((each) => ['serious', 'critical'].includes(each.impact));
  return found.flatMap((each) => each.nodes.map((node) => `${each.id}: ${node.target.join(' ')}: ${node.failureSummary.replaceAll('\n', ' ')}`));
}

/** How bright the pixels of a pane are: the least, the mean, the most, of 0 to 255, without what lies over the image. */
export async function brightness(page, pane = 0) {
  const { x, y, width, height } = await page.locator('.pane .image').nth(pane).boundingBox();
  const picture = await page.screenshot({ clip: { x: x + width * 0.3, y: y + height * 0.2, width: width * 0.4, height: height * 0.6 } });
  return page.evaluate(async (encoded) => {
    const image = new Image();
    image.src = `data:image/png;base64,${encoded}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    let [least, most, sum] = [255, 0, 0];
    for (let at = 0; at < data.length; at += 4) {
      least = Math.min(least, data[at]);
      most = Math.max(most, data[at]);
      sum += data[at];
    }
    return { least, most, mean: sum / (data.length / 4) };
  }, picture.toString('base64'));
}

/** What an element says; also one of SVG. */
export const text = async (page, selector) => (await page.locator(selector).first().textContent()).trim();

/** Says of the report in the sign step that its contradictions, where it has some, were seen: what a model wrote may be anything. */
export async function seen(page) {
  const box = page.locator('.sign-step .against input');
  if (await box.count() > 0) await box.check();
}
