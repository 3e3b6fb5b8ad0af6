    # Ways into the kernel and out of it. Both build a TrapFrame (trap.rs) on the
    # kernel stack: fxsave image, fifteen registers, vector, error code, and what
    # the processor pushes. RSP is 16-byte aligned before the processor pushes, so
    # the image is aligned too.

    .macro SAVE_REGISTERS
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $512, %rsp
    fxsave64 (%rsp)                     # the precompiled core uses xmm registers
    xorl %ebp, %ebp
    movq %rsp, %rdi
    .endm

    .macro RESTORE_REGISTERS
    fxrstor64 (%rsp)
    addq $512, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp                      # vector, error code
    .endm

    .section .text.trap, "ax"
    # 256 stubs of 16 bytes; each pushes its vector above a real or dummy error code.
    .balign 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    pushq $0
    .endif
    pushq $vector
    jmp trap_common
    .set vector, vector + 1
    .endr

trap_common:
    testb $3, 24(%rsp)                  # CS.RPL of what was interrupted
    jz 1f
    swapgs
1:  cld
    SAVE_REGISTERS
    call metal_trap
trap_return:
    RESTORE_REGISTERS
    testb $3, 8(%rsp)
    jz 2f
    swapgs
2:  iretq

    # SYSCALL: RCX = return address, R11 = RFLAGS, interrupts off by IA32_FMASK.
    .globl syscall_entry
syscall_entry:
    swapgs
    movq %rsp, %gs:8
    movq %gs:0, %rsp
    pushq $0x1b                         # SS, user
    pushq %gs:8
    pushq %r11
    pushq $0x23                         # CS, user
    pushq %rcx
    pushq $0
    pushq $256                          # no vector: SYSCALL
    SAVE_REGISTERS
    call metal_syscall
    RESTORE_REGISTERS
    movq (%rsp), %rcx
    movq 16(%rsp), %r11
    movq 24(%rsp), %rsp
    swapgs
    sysretq

    # fn switch_stacks(save: *mut u64, next: u64): callee-saved registers and RSP.
    # The old RSP is stored after the old stack is left: from then on another CPU
    # may resume it.
    .globl switch_stacks
switch_stacks:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rax
    movq %rsi, %rsp
    movq %rax, (%rdi)
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

    # Where a new thread's first switch returns to; its TrapFrame is at RSP.
    .globl thread_start
thread_start:
    movq %rsp, %rdi
    call metal_thread_begins
    jmp trap_return
