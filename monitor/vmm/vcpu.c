// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Raising an exception only records it: the instruction's handler returns -EFAULT and the main loop delivers. The
 * first one stays because handlers unwind through code that may check again; hardware reports the first too.
 */
#include "monitor/vmm/vcpu.h"

#include <errno.h>

int vcpu_raise(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	if (v->exc_vector != EXC_NONE)
		return -EFAULT;
	v->exc_vector = (uint8_t)vector;
	v->exc_has_error = has_error;
	v->exc_error = has_error ? error : 0;
	return -EFAULT;
}

int vcpu_raise_pf(struct vcpu *v, struct gva at, uint32_t error)
{
	if (v->exc_vector != EXC_NONE)
		return -EFAULT;
	v->exc_cr2 = at.a;
	return vcpu_raise(v, EXC_PF, true, error);
}
