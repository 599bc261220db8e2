// Makes a program believe that the x86 processor it runs on lacks some instructions, so that libraries which choose
// their kernels by CPUID take those for older processors. Linux on Intel, where CPUID can be made to fault.
//
//   gcc -O2 -fPIC -shared -o mask-cpuid.so apps/bench/src/mask-cpuid.c -ldl
//   MASK_CPUID=amx,vnni,avx512 LD_PRELOAD=./mask-cpuid.so node …
//
// Names: amx, vnni (AVX-VNNI too), avx512, avx2.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define BIT(n) (1u << (n))

enum { EAX, EBX, ECX, EDX };

// Bits of CPUID that are hidden: name, leaf, subleaf, register, mask.
static const struct {
  const char *name;
  uint32_t leaf, sub;
  int at;
  uint32_t mask;
} bits[] = {
    {"amx", 7, 0, EDX, BIT(22) | BIT(24) | BIT(25)},
    {"amx", 7, 1, EAX, BIT(21)},
    {"vnni", 7, 0, ECX, BIT(11)},
    {"vnni", 7, 1, EAX, BIT(4)},
    {"vnni", 7, 1, EDX, BIT(4) | BIT(10)},
    {"avx512", 7, 0, EBX, BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31)},
    {"avx512", 7, 0, ECX, BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14)},
    {"avx512", 7, 0, EDX, BIT(2) | BIT(3) | BIT(8) | BIT(23)},
    {"avx512", 7, 1, EAX, BIT(5)},
    {"avx2", 7, 0, EBX, BIT(5)},
    {"avx2", 1, 0, ECX, BIT(12) | BIT(28)},
};

static const char *hidden;
static struct sigaction theirs;
static int (*system_sigaction)(int, const struct sigaction *, struct sigaction *);

// CPUID faults: it is run here, and what is hidden is taken off.
static void on_fault(int number, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *code = (const uint8_t *)registers[REG_RIP];
  if (info->si_code != SI_KERNEL || code[0] != 0x0f || code[1] != 0xa2) {
    if (theirs.sa_flags & SA_SIGINFO)
      theirs.sa_sigaction(number, info, context);
    else {
      signal(SIGSEGV, SIG_DFL);
      raise(SIGSEGV);
    }
    return;
  }
  const uint32_t leaf = (uint32_t)registers[REG_RAX], sub = (uint32_t)registers[REG_RCX];
  uint32_t result[4];
  syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
  __asm__ volatile("cpuid"
                   : "=a"(result[EAX]), "=b"(result[EBX]), "=c"(result[ECX]), "=d"(result[EDX])
                   : "a"(leaf), "c"(sub));
  syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
  for (size_t at = 0; at < sizeof bits / sizeof *bits; at++)
    if (bits[at].leaf == leaf && (leaf != 7 || bits[at].sub == sub) && strstr(hidden, bits[at].name))
      result[bits[at].at] &= ~bits[at].mask;
  registers[REG_RAX] = result[EAX];
  registers[REG_RBX] = result[EBX];
  registers[REG_RCX] = result[ECX];
  registers[REG_RDX] = result[EDX];
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
  hidden = getenv("MASK_CPUID");
  if (!hidden || !*hidden) return;
  struct sigaction own;
  memset(&own, 0, sizeof own);
  own.sa_sigaction = on_fault;
  own.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  system_sigaction = dlsym(RTLD_NEXT, "sigaction");
  system_sigaction(SIGSEGV, &own, &theirs);
  if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0) {
    fputs("mask-cpuid: this processor or kernel cannot make CPUID fault.\n", stderr);
    exit(1);
  }
}

// Node resets the handlers of all signals when it starts, and sets its own: that one is called for other faults.
int sigaction(int number, const struct sigaction *to, struct sigaction *from) {
  if (!system_sigaction) system_sigaction = dlsym(RTLD_NEXT, "sigaction");
  if (number != SIGSEGV || !hidden || !*hidden) return system_sigaction(number, to, from);
  const struct sigaction before = theirs;
  if (to) theirs = *to;
  if (from) *from = before;
  return 0;
}
