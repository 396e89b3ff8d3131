#include "CInit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// Executed as the first process of a sandbox. Static, so that its start costs half a millisecond.

// Swift's linker driver adds an object file that wants these two; there is no Swift in this program.
void swift_addNewDSOImage(const void *image) { (void)image; }
int _swift_backtrace_isThunkFunction(const char *name) { (void)name; return 0; }

int main(int count, char **arguments) {
    (void)count;
    struct plan plan = read_plan(arguments);
    int filter = enter_sandbox(&plan);
    // The filter's file stays open for the zygote; the status socket is for the sandbox's first process only.
    if (plan.status >= 0) fcntl(plan.status, F_SETFD, FD_CLOEXEC);
    if (filter >= 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", filter);
        setenv("HEARTH_FILTER", number, 1);
    }
    execv(plan.program[0], plan.program);
    fail(&plan, plan.program[0]);
}
