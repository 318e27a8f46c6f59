// The web phone calls a plain SIP phone, holds the call, takes it back, and sends keys.
// Usage: node hold.mjs BASE ACCOUNT PASSWORD PEER
import { PATIENCE, dial, freshPage, id, launch, phase, signIn, sleep, state, tell } from './browser.mjs';

const [base, account, password, peer] = process.argv.slice(2);

const browser = await launch(process.env.WHIMBREL_MICROPHONE);
try {
  const page = await freshPage(browser);
  await signIn(page, base, account, password);
  await dial(page, peer);
  await phase(page, 'talking');
  await sleep(3000);
  const before = (await state(page)).stats;
  await hold(page, true);
  await sleep(4000);
  const held = (await state(page)).stats;
  await hold(page, false);
  await sleep(4000);
  const after = (await state(page)).stats;
  for (const key of ['key-4', 'key-2', 'key-hash']) await press(page, key);
  await sleep(1500);
  await page.click(id('hang-up'));
  await phase(page, 'ended');
  tell('held', { before, held, after });
} finally {
  await browser.close();
}

async function hold(page, wanted) {
  await page.click(id('hold'));
  await page.waitForFunction((wanted) => window.whimbrelPhone.call.held === wanted, PATIENCE, wanted);
}

async function press(page, key) {
  if (!(await page.$(id(key)))) await page.click(id('dtmf-toggle'));
  await page.waitForSelector(id(key), PATIENCE);
  await page.click(id(key));
}
