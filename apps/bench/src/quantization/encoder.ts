import { type Executable, type Feeds, Tensor } from '@lithe/core';
import { loadMails } from '../encoder/mails.ts';
import { loadMiniLm } from '../encoder/minilm.ts';
import { feedsOf, nearestBodies } from '../encoder/quality.ts';
import type { Subject } from './subject.ts';

/** Mean of the tokens' vectors, of length 1. */
function pooled(hidden: Tensor<'float32'>): Float32Array {
  const width = hidden.shape.at(-1) as number;
  const mean = new Float32Array(width);
  const { data } = hidden;
  for (let index = 0; index < data.length; index++) mean[index % width]! += data[index]!;
  const norm = Math.hypot(...mean);
  return mean.map((value) => value / norm);
}

/** all-MiniLM-L6-v2, measured by the e-mails that it finds by their subject. */
export async function encoderSubject(sizes: {
  readonly folder: string;
  readonly calibration: number;
  readonly mails: number;
  readonly tokens: number;
}): Promise<Subject> {
  const { model, tokenizer } = await loadMiniLm(sizes.folder);
  const all = await loadMails(sizes.calibration + sizes.mails, 1);
  const mails = all.slice(sizes.calibration);
  const feeds = (text: string): Feeds => feedsOf(tokenizer.encode(text, sizes.tokens));
  const calibration = all.slice(0, sizes.calibration).map(({ body }) => feeds(body));
  return {
    name: 'all-MiniLM-L6-v2',
    model,
    measure: `e-mails found by subject among ${sizes.mails}`,
    kind: 'transformer',
    large: true,
    calibration,
    timed: calibration[0] as Feeds,
    evaluate: async (executable: Executable) => {
      const embed = async (text: string): Promise<Float32Array> => {
        const result = await executable.run(feeds(text));
        return pooled(Object.values(result)[0] as Tensor<'float32'>);
      };
      const subjects: Float32Array[] = [];
      const bodies: Float32Array[] = [];
      for (const { subject, body } of mails) {
        subjects.push(await embed(subject));
        bodies.push(await embed(body));
      }
      const nearest = nearestBodies({ subjects, bodies, seconds: 0 });
      const found = nearest.filter((body, subject) => body === subject).length;
      const outputs = bodies.map((body) => ({ embedding: Tensor.from('float32', [body.length], body) }));
      return { accuracy: found / mails.length, outputs };
    },
  };
}
