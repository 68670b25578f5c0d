/*
 * Loaded into one process (LD_PRELOAD): counts its calls that change a file system or start a program,
 * and at the one that is asked for kills the process, or lets the call fail. One counter for all threads
 * and forks. Nothing of libc is used, so that it runs on any glibc:
 *   gcc -shared -fPIC -O1 -nostdlib -ffreestanding -fno-stack-protector -o shim.so shim.c
 *
 * FAULT_LOG=FILE    writes "NUMBER CALL PATH" of every counted call there
 * FAULT_AT=N        the call at which it happens; the first is 1
 * FAULT_KIND        kill: SIGKILL before the call; after: SIGKILL once it is done; torn: half of a write
 *                   is written first; a number: the call and all later ones fail with this errno
 * FAULT_PREFIX=DIR  only calls on paths below DIR count
 * FAULT_SECONDS=N   the process's clock is so many seconds away from the machine's; may be negative
 * FAULT_FIRED=FILE  is made at the moment of the fault: a run without it is void
 *
 * A started program counts in the new process: there, kill ends the process that started it (and the new
 * one never runs), after ends it and lets the new one go on alone.
 */
typedef unsigned long size_t;
typedef long ssize_t;
typedef unsigned int mode_t;
typedef long off_t;
struct iovec { void *base; size_t length; };

extern char **environ;
extern int *__errno_location(void);
extern int execvpe(const char *, char *const[], char *const[]);

enum { READ = 0, WRITE = 1, CLOSE = 3, FSTAT = 5, MMAP = 9, PWRITE = 18, WRITEV = 20, GETPID = 39, KILL = 62,
       EXIT = 231, FSYNC = 74, FDATASYNC = 75, FTRUNCATE = 77, RENAME = 82, MKDIR = 83, RMDIR = 84, LINK = 86,
       UNLINK = 87, SYMLINK = 88, READLINK = 89, CHMOD = 90, FCHMOD = 91, CHOWN = 92, FCHOWN = 93, LCHOWN = 94,
       GETPPID = 110, TIME = 201, CLOCK_GETTIME = 228, GETTIMEOFDAY = 96, OPENAT = 257 };
enum { O_WRONLY = 1, O_CREAT = 0100, O_APPEND = 02000, O_CLOEXEC = 02000000, HERE = -100 };

static long call6(long n, long a, long b, long c, long d, long e, long f) {
  long out;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(out) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return out;
}
#define CALL(n, a, b, c) call6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)

static long answer(long out) {
  if (out < 0 && out > -4096) {
    *__errno_location() = (int)-out;
    return -1;
  }
  return out;
}

static void note(const char *file, int flags, const char *text, size_t n);

static size_t length(const char *text) { size_t n = 0; while (text[n]) n++; return n; }
static int begins(const char *text, const char *with) { while (*with) if (*text++ != *with++) return 0; return 1; }
static const char *setting(const char *name) {
  size_t n = length(name);
  for (char **each = environ; each && *each; each++)
    if (begins(*each, name) && (*each)[n] == '=') return *each + n + 1;
  return 0;
}
static long number(const char *text) { long n = 0; while (text && *text >= '0' && *text <= '9') n = n * 10 + (*text++ - '0'); return n; }

static long *counter;
static const char *prefix, *log_path, *fired_path, *kind;
static long at, seconds;
static int fails;

__attribute__((constructor)) static void begin(void) {
  log_path = setting("FAULT_LOG");
  prefix = setting("FAULT_PREFIX");
  fired_path = setting("FAULT_FIRED");
  kind = setting("FAULT_KIND");
  at = number(setting("FAULT_AT"));
  const char *moved = setting("FAULT_SECONDS");
  if (moved) seconds = *moved == '-' ? -number(moved + 1) : number(moved);
  if (moved && fired_path) note(fired_path, 0, "clock\n", 6);
  fails = kind && *kind >= '0' && *kind <= '9' ? (int)number(kind) : 0;
  /* Shared with forks: PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS. */
  long page = call6(MMAP, 0, 4096, 3, 0x21, -1, 0);
  if (page > 0) counter = (long *)page;
}

static void note(const char *file, int flags, const char *text, size_t n) {
  long fd = call6(OPENAT, HERE, (long)file, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644, 0, 0);
  if (fd < 0) return;
  if (n) CALL(WRITE, fd, text, n);
  CALL(CLOSE, fd, 0, 0);
}

static void put(char *line, size_t *n, const char *text) { while (*text && *n < 4000) line[(*n)++] = *text++; }

static void die(long pid) {
  CALL(KILL, pid, 9, 0);
  for (;;) CALL(READ, -1, 0, 0);
}

enum { GO_ON = 0, FAIL = 1, DIE_AFTER = 2, TEAR = 3 };

/* What has to happen at this call. Dies by itself where the call is not to be made at all. */
static int count(const char *name, const char *path) {
  if (!counter || (!log_path && !at)) return GO_ON;
  if (prefix && !begins(path, prefix)) return GO_ON;
  long n = __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
  if (log_path || (fired_path && (n == at))) {
    char line[4100], digits[24];
    size_t size = 0, d = 0;
    for (long left = n; left; left /= 10) digits[d++] = (char)('0' + left % 10);
    while (d) line[size++] = digits[--d];
    put(line, &size, " "); put(line, &size, name); put(line, &size, " "); put(line, &size, path);
    line[size++] = '\n';
    if (log_path) note(log_path, O_APPEND, line, size);
    if (fired_path && n == at) note(fired_path, O_APPEND, line, size);
  }
  if (!at || n < at) return GO_ON;
  if (fails) return FAIL;
  if (n != at || !kind) return GO_ON;
  if (begins(kind, "after")) return DIE_AFTER;
  if (begins(kind, "torn")) return TEAR;
  return TEAR + 1;
}

static long made(int what, long n, long a, long b, long c) {
  if (what == FAIL) return answer(-fails);
  if (what == TEAR && n == WRITE) CALL(WRITE, a, b, c / 2);
  if (what == TEAR && n == PWRITE) what = TEAR + 1;
  if (what >= TEAR) die(CALL(GETPID, 0, 0, 0));
  long out = CALL(n, a, b, c);
  if (what == DIE_AFTER) die(CALL(GETPID, 0, 0, 0));
  return answer(out);
}

/* The path of an open regular file; empty for anything else. */
static const char *file_of(int fd, char *path) {
  unsigned int facts[36];
  path[0] = 0;
  if (CALL(FSTAT, fd, facts, 0) != 0) return path;
  unsigned int type = facts[6] & 0170000;
  if (type != 0100000 && type != 0040000) return path;
  char name[40] = "/proc/self/fd/", digits[12];
  size_t n = length(name), d = 0;
  unsigned int left = (unsigned int)fd;
  do digits[d++] = (char)('0' + left % 10); while (left /= 10);
  while (d) name[n++] = digits[--d];
  name[n] = 0;
  long size = CALL(READLINK, name, path, 4000);
  path[size > 0 ? size : 0] = 0;
  return path;
}

#define ON_PATH(name, n, arguments, path, a, b, c) \
  int name arguments { return (int)made(count(#name, path), n, (long)(a), (long)(b), (long)(c)); }
ON_PATH(mkdir, MKDIR, (const char *path, mode_t mode), path, path, mode, 0)
ON_PATH(rmdir, RMDIR, (const char *path), path, path, 0, 0)
ON_PATH(unlink, UNLINK, (const char *path), path, path, 0, 0)
ON_PATH(rename, RENAME, (const char *from, const char *to), to, from, to, 0)
ON_PATH(link, LINK, (const char *from, const char *to), to, from, to, 0)
ON_PATH(symlink, SYMLINK, (const char *text, const char *to), to, text, to, 0)
ON_PATH(chmod, CHMOD, (const char *path, mode_t mode), path, path, mode, 0)
ON_PATH(chown, CHOWN, (const char *path, unsigned int uid, unsigned int gid), path, path, uid, gid)
ON_PATH(lchown, LCHOWN, (const char *path, unsigned int uid, unsigned int gid), path, path, uid, gid)

#define ON_FILE(name, n, arguments, fd, b, c) \
  int name arguments { char path[4096]; return (int)made(*file_of(fd, path) ? count(#name, path) : GO_ON, n, fd, (long)(b), (long)(c)); }
ON_FILE(fsync, FSYNC, (int fd), fd, 0, 0)
ON_FILE(fdatasync, FDATASYNC, (int fd), fd, 0, 0)
ON_FILE(fchmod, FCHMOD, (int fd, mode_t mode), fd, mode, 0)
ON_FILE(fchown, FCHOWN, (int fd, unsigned int uid, unsigned int gid), fd, uid, gid)
ON_FILE(ftruncate, FTRUNCATE, (int fd, off_t size), fd, size, 0)
ON_FILE(ftruncate64, FTRUNCATE, (int fd, off_t size), fd, size, 0)

ssize_t write(int fd, const void *bytes, size_t size) {
  char path[4096];
  return made(*file_of(fd, path) ? count("write", path) : GO_ON, WRITE, fd, (long)bytes, (long)size);
}

static ssize_t at_offset(int fd, const void *bytes, size_t size, off_t offset) {
  char path[4096];
  int what = *file_of(fd, path) ? count("pwrite", path) : GO_ON;
  if (what == FAIL) return answer(-fails);
  if (what == TEAR) call6(PWRITE, fd, (long)bytes, (long)(size / 2), offset, 0, 0);
  if (what >= TEAR) die(CALL(GETPID, 0, 0, 0));
  long out = call6(PWRITE, fd, (long)bytes, (long)size, offset, 0, 0);
  if (what == DIE_AFTER) die(CALL(GETPID, 0, 0, 0));
  return answer(out);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) { return at_offset(fd, bytes, size, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset) { return at_offset(fd, bytes, size, offset); }

ssize_t writev(int fd, const struct iovec *parts, int many) {
  char path[4096];
  return made(*file_of(fd, path) ? count("writev", path) : GO_ON, WRITEV, fd, (long)parts, many);
}

static int opened(int folder, const char *path, int flags, mode_t mode) {
  int what = (flags & O_CREAT) ? count("open", path) : GO_ON;
  if (what == FAIL) return (int)answer(-fails);
  if (what >= TEAR) die(CALL(GETPID, 0, 0, 0));
  long out = call6(OPENAT, folder, (long)path, flags, mode, 0, 0);
  if (what == DIE_AFTER) die(CALL(GETPID, 0, 0, 0));
  return (int)answer(out);
}
#define MODE(last) \
  mode_t mode = 0; \
  if (flags & O_CREAT) { __builtin_va_list rest; __builtin_va_start(rest, last); mode = __builtin_va_arg(rest, mode_t); __builtin_va_end(rest); }
int open(const char *path, int flags, ...) { MODE(flags) return opened(HERE, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(HERE, path, flags, mode); }

int execvp(const char *file, char *const words[]) {
  char line[3000];
  size_t n = 0;
  for (int each = 0; words[each] && each < 8 && n < 300; each++) {
    if (each) line[n++] = ' ';
    put(line, &n, words[each]);
    if (n > 2000) break;
  }
  line[n < 2999 ? n : 2999] = 0;
  int what = prefix ? GO_ON : count("exec", line);
  if (what == FAIL) return (int)answer(-fails);
  if (what != GO_ON) {
    CALL(KILL, CALL(GETPPID, 0, 0, 0), 9, 0);
    if (what >= TEAR) CALL(EXIT, 0, 0, 0);
  }
  return execvpe(file, words, environ);
}

/* The wall clocks: REALTIME 0, REALTIME_COARSE 5. */
struct moment { long seconds, rest; };
int clock_gettime(int which, struct moment *now) {
  long out = CALL(CLOCK_GETTIME, which, now, 0);
  if (out == 0 && (which == 0 || which == 5)) now->seconds += seconds;
  return (int)answer(out);
}
int gettimeofday(struct moment *now, void *zone) {
  long out = CALL(GETTIMEOFDAY, now, zone, 0);
  if (out == 0 && now) now->seconds += seconds;
  return (int)answer(out);
}
long time(long *place) {
  long now = CALL(TIME, 0, 0, 0) + seconds;
  if (place) *place = now;
  return now;
}
