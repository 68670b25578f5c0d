/** What went wrong in the lab and what a person should do next. */
export class LabError extends Error {
  constructor(
    message: string,
    readonly hint: string,
    cause?: unknown,
  ) {
    super(`${message}\n  next: ${hint}`, cause === undefined ? undefined : { cause });
    this.name = 'LabError';
  }
}
