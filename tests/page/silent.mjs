// A coordinator that is silent, or refuses: nothing looks alive that is not, nothing that was typed is lost, and nobody is shown as
// signed out who is not. Argument: {url, name, password, study}, a draft.
import assert from 'node:assert/strict';
import { drawn, open, serious, settings, signIn, text } from './browser.mjs';

const { page, close } = await open();
const path = `/study/${settings.study}`;
const type = async (words) => {
  await page.keyboard.press('e');
  await page.keyboard.press('Control+a');
  await page.keyboard.type(words);
};
const signOut = () => page.locator('.top button', { hasText: 'Sign out' }).click();
const silent = () => undefined;
const refused = (method) => (route) => (route.request().method() === method ? route.fulfill({ status: 507, json: { code: 'full', error: 'there is no room' } }) : route.fallback());

// The part that shows studies cannot be had: it is said, and asked for again.
const broken = (route) => route.abort('connectionreset');
await page.route('**/assets/page-*.js', broken);
await signIn(page, path);
await page.waitForSelector('main [role=alert]');
assert.deepEqual(await serious(page), []);
assert.match(await text(page, 'main [role=alert]'), /^The part of the page that shows studies cannot be had/);
await page.unroute('**/assets/page-*.js', broken);
await page.locator('button', { hasText: 'Try again' }).click();
await drawn(page);
// A newer version of the page has other files: an old tab loads it.
let isOld = true;
const gone = (route) => (isOld ? route.fulfill({ status: 404, body: 'there is nothing here' }) : route.fallback());
const newer = (route) => {
  if (route.request().resourceType() !== 'fetch') return route.fallback();
  isOld = false;
  return route.fulfill({ contentType: 'text/html', body: '<script type="module" src="/assets/index-newer.js"></script>' });
};
await page.route('**/assets/page-*.js', gone);
await page.route(`${settings.url}/`, newer);
await page.reload();
await drawn(page);
assert.ok(!isOld);
await page.unrouteAll();

// What was typed just before signing out is kept; where that cannot be, who signs out is asked.
await type('Typed at the very end.');
await signOut();
await page.waitForSelector('.sign-in');
assert.equal(await page.title(), 'prelim');
await signIn(page, path);
await drawn(page);
const kept = () => page.evaluate(async (study) => (await (await fetch(`/api/studies/${study}/working-copy`)).json()).impression, settings.study);
assert.deepEqual(await kept(), ['Typed at the very end.']);
await page.route('**/working-copy', refused('PUT'));
await type('Typed while nothing can be kept.');
await signOut();
await page.waitForSelector('.leaving [role=alert]');
assert.match(await text(page, '.leaving'), /^Not signed out: what you typed last is not kept\. There is no room/);
assert.deepEqual(await serious(page), []);
await page.unrouteAll();
await page.locator('.leaving button', { hasText: 'Try again' }).click();
await page.waitForSelector('.sign-in');

// Who asked to leave, and is not out yet, sees that; loading the page again lets nobody in.
await signIn(page, path);
await drawn(page);
assert.deepEqual(await kept(), ['Typed while nothing can be kept.']);
await page.route('**/api/session', refused('DELETE'));
await signOut();
for (const again of [false, true]) {
  if (again) await page.reload();
  await page.waitForSelector('main [role=alert]');
  assert.match(await text(page, 'main [role=alert]'), /^You are not signed out yet\. There is no room/);
  assert.equal(await page.locator('.top').count(), 0);
  assert.deepEqual(await serious(page), []);
}
await page.unrouteAll();
// It is tried until it is so.
await page.waitForSelector('.sign-in');
await page.reload();
await page.waitForSelector('.sign-in');

// Nothing is heard any more: it is said that the page is not live, and that what was typed is not kept. Where a tab has a stream of its
// own, as here, it has none while it is hidden.
await page.addInitScript(() => { Reflect.deleteProperty(window, 'SharedWorker'); });
await page.clock.install();
await signIn(page, '/worklist');
await page.waitForSelector('.foot .live');
const hide = (hidden) => page.evaluate((hidden) => {
  Object.defineProperty(document, 'hidden', { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}, hidden);
await hide(true);
await page.waitForSelector('.foot .not-live');
await hide(false);
await page.waitForSelector('.foot .live');
await page.locator('.line', { hasText: await page.evaluate(async (study) => (await (await fetch(`/api/studies/${study}`)).json()).row.patient.id, settings.study) }).dblclick();
await page.waitForURL(`**${path}`);
await drawn(page);
assert.equal(await page.locator('.not-live').count(), 0);
await page.route('**/api/events', silent);
await page.route('**/working-copy', silent);
await type('Typed into the silence.');
await page.clock.runFor(34_000);
await page.waitForFunction(() => document.querySelector('.saved')?.textContent.startsWith('not kept yet'));
await page.clock.runFor(10_000);
await page.waitForSelector('.top .not-live');
assert.deepEqual(await serious(page), []);
await page.unrouteAll();
await page.clock.runFor(60_000);
await page.waitForSelector('.top .not-live', { state: 'detached' });
await page.waitForFunction(() => document.querySelector('.saved')?.textContent.startsWith('kept'));
// A workstation's clock may be hours ahead: ages go by the coordinator's.
await page.clock.setSystemTime(Date.now() + 5 * 3_600_000);
await page.goto(`${settings.url}/worklist?age=1`);
await page.waitForSelector('.lines .line');
assert.doesNotMatch(await text(page, '.lines .c-received'), /\dh$/);
await page.goto(settings.url + path);
await drawn(page);
await page.keyboard.press('Shift+D');
await page.waitForSelector('.sign-step');
await page.keyboard.press('Enter');
await page.waitForFunction(() => document.querySelector('#impression .tag')?.textContent === 'made from the findings');
await close();
