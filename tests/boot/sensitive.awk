# SPDX-License-Identifier: GPL-3.0-or-later
# Of objdump's disassembly (Intel syntax, raw bytes left out; -F'\t'): the sensitive instructions, by a list of mnemonics
# from the SDM, each as "address instruction"; with `sections` set as "section+address instruction".
/^Disassembly of section/ {
	section = $0
	sub(/^Disassembly of section /, "", section)
	sub(/:$/, "", section)
}
NF > 1 {
	insn = $2
	sub(/ *[#<].*/, "", insn)
	while (sub(/^(cs|ds|es|ss|fs|gs|rep[nez]*|lock|data16|addr(16|32)|rex[.WRXB]*) +/, "", insn))
		;
	split(insn, w, " ")
	m = w[1]
	ops = substr(insn, length(m) + 1)
	hit = m ~ /^([sl][gi]dt[dw]?|sldt|smsw|str|pushf[dqw]?|popf[dqw]?|lar|lsl|verr|verw)$/ ||
		m ~ /^(l[defgs]s|lcall|ljmp|retf[qw]?|int|into|int1|icebp|iret[dqw]?|cli|sti|hlt)$/ ||
		m ~ /^(in|out|ins|outs|lldt|ltr|lmsw|clts|inv[a-z]+|wbinvd|wbnoinvd|rdmsr|wrmsr)$/ ||
		m ~ /^(rdpmc|cpuid|rdtscp?|[xs]setbv|xgetbv|rdpkru|wrpkru|xrstors?(64)?|xsaves(64)?)$/ ||
		m ~ /^(rdpid|rdpru|u?monitorx?|u?mwaitx?|tpause|stac|clac|sysenter|sysexitq?)$/ ||
		m ~ /^(syscall|sysretq?[dlq]?|swapgs|stgi|clgi|skinit|getsec|(rd|wr)[fg]sbase)$/ ||
		m ~ /^vm(m?call|launch|resume|xo[nf]+|read|write|clear|ptrld|ptrst|func|run)$/ ||
		m ~ /^(vmload|vmsave|vmgexit|pvalidate|psmash|rmpadjust|rmpupdate)$/ ||
		m ~ /^(seamcall|tdcall|encl[suv]|pconfig|rsm|xsusldtrk|hreset)$/
	hit = hit || m ~ /^(call|jmp)$/ && (ops ~ /FWORD|TBYTE/ || ops ~ /^ *0x[0-9a-f]+:/)
	hit = hit || m ~ /^(push|pop)[wq]?$/ && ops ~ /^ *[cdefgs]s$/
	hit = hit || m == "mov" && ops ~ /(^ *|,)([cdefgs]s|[cd]r[0-9]+)(,|$)/
	if (hit) {
		sub(/^ */, "", $1)
		sub(/:.*/, "", $1)
		print (sections ? section "+" : "") $1, insn
	}
}
