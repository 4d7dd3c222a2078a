// Chromium on the reading room page, and what every visit is watched for: requests to other hosts, violations of the
// content-security policy, errors in scripts.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../target/browser/', import.meta.url));
const { chromium } = require('playwright-core');
const axe = require('axe-core');

export const settings = JSON.parse(process.argv[2] ?? '{}');

const GL = ['--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'];

/** All that were opened, for who looks into a failure. */
export const visits = [];

/** `also` are origins that the page may go to beside its own; `touch` is for a tablet, which has fingers and no mouse. */
export async function open({ gl = false, width = 1280, height = 800, also = [], touch = false } = {}) {
  const flags = ['--no-sandbox', '--disable-dev-shm-usage', ...(gl ? GL : [])];
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: flags });
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: 'dark', reducedMotion: 'reduce', ignoreHTTPSErrors: true, hasTouch: touch, isMobile: touch });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
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
      await page.waitForTimeout(100);
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

/** Waits until an image is drawn. */
export const drawn = (page, panes = 1) => page.waitForFunction((count) => document.querySelectorAll('.pane[data-ready=true]').length >= count, panes);

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
