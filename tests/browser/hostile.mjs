// What strangers wrote into calls and registrations is shown by the console and the web phone, and is text there: no
// script of theirs runs, no element of theirs comes to be. Usage: node hostile.mjs BASE ADMIN-LINK ACCOUNT PASSWORD
import { PATIENCE, freshPage, id, launch, phase, signIn, signInByLink, sleep, tell } from './browser.mjs';

const [base, link, account, password] = process.argv.slice(2);

/** A page that counts what would have been an alert. */
async function watched(browser) {
  const page = await freshPage(browser);
  page.ran = 0;
  page.on('dialog', async (dialog) => {
    page.ran += 1;
    await dialog.dismiss();
  });
  return page;
}

/** What the page shows, and what of it a stranger made. */
async function seen(page) {
  // An image that is not there fails, and its handler runs, a moment later.
  await sleep(500);
  const { text, planted } = await page.evaluate(() => ({
    text: document.body.innerText,
    planted: [...document.querySelectorAll('img:not([src^="/"]), iframe, object, embed, [onerror], [onload], a[href^="javascript:"]')]
      .map((element) => element.outerHTML)
      .concat([...document.querySelectorAll('script')].filter((s) => s.textContent.includes('alert')).map((s) => s.outerHTML)),
  }));
  return { text, planted, ran: page.ran };
}

const browser = await launch();
try {
  const control = await watched(browser);
  await control.setContent('<body>control <img src=x onerror=alert(1)></body>');
  tell('control', await seen(control));

  const console_ = await watched(browser);
  await signInByLink(console_, base, link);
  await console_.waitForSelector(id('registration'), PATIENCE);
  await console_.waitForSelector(id('call'), PATIENCE);
  const calls = await console_.$$eval(id('call'), (rows) => rows.map((row) => row.dataset.callId));
  tell('live', { ...(await seen(console_)), calls });

  await console_.click(id('nav-history'));
  await console_.waitForSelector(id('record'), PATIENCE);
  const details = [];
  for (const button of await console_.$$(id('record-details'))) {
    await button.click();
    details.push(await console_.$eval(id('record-detail-list'), (list) => list.innerText));
    await button.click();
  }
  const history = await seen(console_);
  tell('history', { ...history, text: [history.text, ...details].join('\n') });

  for (const path of ['/api/records?limit=200', '/api/registrations', '/api/calls']) {
    const api = await console_.evaluate(async (path) => {
      const answer = await fetch(path);
      const header = (name) => answer.headers.get(name);
      return { type: header('content-type'), sniff: header('x-content-type-options'), raw: await answer.text() };
    }, path);
    tell(path.split('?')[0], api);
  }

  const phone = await watched(browser);
  await signIn(phone, base, account, password);
  tell('ready');
  await phase(phone, 'incoming');
  tell('incoming', await seen(phone));
  await phone.click(id('decline'));
  await phase(phone, 'ended');
  tell('recent', await seen(phone));
} finally {
  await browser.close();
}
