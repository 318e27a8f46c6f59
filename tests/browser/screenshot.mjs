// A true picture of the console for the README: two users register on the web phone, one calls the other and another
// one the echo test, and the console is photographed while both calls go on.
// Usage: node screenshot.mjs BASE ADMIN-LINK OUTPUT.png ACCOUNT PASSWORD ACCOUNT PASSWORD ACCOUNT PASSWORD
import { PATIENCE, dial, freshPage, id, launch, phase, signIn, signInByLink, sleep, tell } from './browser.mjs';

const [base, link, output, ...accounts] = process.argv.slice(2);

const browser = await launch(process.env.WHIMBREL_MICROPHONE);
try {
  const phones = [];
  for (let at = 0; at < accounts.length; at += 2) {
    const page = await freshPage(browser);
    await signIn(page, base, accounts[at], accounts[at + 1]);
    phones.push(page);
  }
  const [caller, callee, third] = phones;
  await dial(caller, accounts[2]);
  await phase(callee, 'incoming');
  await callee.bringToFront();
  await callee.click(id('answer'));
  await phase(callee, 'talking');
  await third.bringToFront();
  await dial(third, '*43');
  await phase(third, 'talking');

  const admin = await freshPage(browser, { width: 1280, height: 630, deviceScaleFactor: 1.5 });
  await signInByLink(admin, base, link);
  await admin.waitForFunction(
    () => document.querySelectorAll('[data-testid=call][data-state=answered]').length === 2,
    PATIENCE,
  );
  await sleep(3000);
  await admin.screenshot({ path: output });
  tell('photographed', { output });
} finally {
  await browser.close();
}
