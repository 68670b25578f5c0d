/**
 * Pure: what a shell's `times`, as the last words of its output, says of the processes that it has started and
 * waited for: user and system time, in milliseconds.
 */
export function childrenCpuMs(output: string): number {
  const last = output.trimEnd().split('\n').at(-1) ?? '';
  const parts = [...last.matchAll(/(\d+)m([\d.]+)s/g)];
  if (parts.length !== 2) throw new TypeError(`these are no times: ${last}`);
  return parts.reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000,
    0,
  );
}
