import { z } from 'zod';
import type { Configuration } from '../configure/index.js';

const Argv = z.tuple([z.string()], z.string());

const everyCheck = { component: z.string(), id: z.string(), timeoutMs: z.int() };

/** What makes an installed configuration run: kept with a run, since going back to it has no site file. */
export const RunningSchema = z.strictObject({
  services: z.array(
    z.strictObject({
      component: z.string(),
      unit: z.string(),
      unitFile: z.string(),
      restartOn: z.array(z.string()),
      reloadOn: z.array(z.string()),
    }),
  ),
  refreshes: z.array(
    z.strictObject({
      component: z.string(),
      id: z.string(),
      argv: Argv,
      files: z.array(z.string()),
      timeoutMs: z.int(),
      onFailure: z.enum(['fail', 'warn']),
    }),
  ),
  /** How each file is tested before it is swapped in; `{file}` stands for it. */
  validations: z.array(
    z.strictObject({
      path: z.string(),
      argv: Argv,
      okExits: z.array(z.int()),
      timeoutMs: z.int(),
      withoutProgram: z.enum(['fail', 'skip']),
    }),
  ),
  checks: z.array(
    z.discriminatedUnion('kind', [
      z.strictObject({ ...everyCheck, kind: z.literal('unit'), unit: z.string() }),
      z.strictObject({ ...everyCheck, kind: z.literal('listen'), address: z.string(), port: z.int() }),
      z.strictObject({
        ...everyCheck,
        kind: z.literal('socket'),
        path: z.string(),
        send: z.string(),
        judge: z.string(),
        expected: z.array(z.string()),
      }),
      z.strictObject({
        ...everyCheck,
        kind: z.literal('command'),
        argv: Argv,
        expect: z.string().exactOptional(),
      }),
    ]),
  ),
});
export type Running = z.infer<typeof RunningSchema>;

export const NOTHING_RUNNING: Running = { services: [], refreshes: [], validations: [], checks: [] };

export function runningOf({ services, refreshes, files, checks }: Configuration): Running {
  return RunningSchema.parse({
    services,
    refreshes,
    validations: files.flatMap(({ path, validate }) =>
      validate === undefined ? [] : [{ path, ...validate }],
    ),
    checks,
  });
}
