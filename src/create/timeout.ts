/** How long a server may send nothing: AIRBUNDLE_TIMEOUT in seconds, 30 otherwise. */
export function timeoutSecondsOf(env: Readonly<Record<string, string>>): number {
  const seconds = Number(env['AIRBUNDLE_TIMEOUT'] ?? '');
  return Number.isInteger(seconds) && seconds > 0 ? seconds : 30;
}
