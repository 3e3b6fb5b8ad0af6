    # From the loader to long mode, for the first CPU (PVH) and the others (SIPI).
    #
    # Everything in .boot.* runs where it is loaded, at 1 MiB. Both ways end in
    # enter_long, which turns on paging with the boot tables: 4 GiB of 2 MiB pages
    # at linear 0, at the direct map and at -2 GiB. %ebp tells them apart: the
    # physical address of hvm_start_info, or 0 on a started CPU.

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18                      # name bytes, descriptor bytes, PHYS32_ENTRY
    .asciz "Xen"
    .quad _pvh_start32

    .section .boot.bss, "aw", @nobits
    .balign 4096
boot_pml4:  .skip 4096
boot_pdpt0: .skip 4096
boot_pdptk: .skip 4096
boot_pd:    .skip 4096*4

    .section .boot.data, "aw"
    .balign 16
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff            # 08h code, 64-bit
    .quad 0x00cf92000000ffff            # 10h data
    .quad 0x00cf9a000000ffff            # 18h code, 32-bit
boot_gdt_end:
boot_gdtr:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt
started_cpus:
    .long 1                             # index of the next CPU to arrive

    .section .boot.text, "ax"
    .code32
    .globl _pvh_start32
_pvh_start32:
    cli
    cld
    movl %ebx, %ebp
    movl $boot_pml4, %edi               # clear the tables
    xorl %eax, %eax
    movl $(7*4096/4), %ecx
    rep stosl
    movl $boot_pdpt0 + 3, boot_pml4     # linear 0
    movl $boot_pdpt0 + 3, boot_pml4 + 256*8     # the direct map
    movl $boot_pdptk + 3, boot_pml4 + 511*8     # -2 GiB
    movl $boot_pd + 3, boot_pdptk + 510*8
    movl $boot_pd + 3 + 4096, boot_pdptk + 511*8
    movl $boot_pd + 3, %eax             # four page directories
    movl $boot_pdpt0, %edi
    movl $4, %ecx
1:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    loop 1b
    movl $0x83, %eax                    # P, R/W, PS
    movl $boot_pd, %edi
    movl $2048, %ecx
2:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 2b
    lgdt boot_gdtr

enter_long:
    movl %cr4, %eax
    orl $0x6a0, %eax                    # PAE, PGE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx              # IA32_EFER
    rdmsr
    orl $0x901, %eax                    # SCE, LME, NXE
    wrmsr
    movl %cr0, %eax
    andl $0x9ffffff3, %eax              # CD, NW, EM, TS off
    orl $0x80010022, %eax               # PG, WP, NE, MP on
    movl %eax, %cr0
    ljmp $8, $start64

    .code64
start64:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    fninit
    testl %ebp, %ebp
    jz 3f
    movabsq $boot_stacks + BOOT_STACK_BYTES, %rsp
    movl %ebp, %edi
    xorl %ebp, %ebp
    movabsq $metal_first_cpu, %rax
    call *%rax
    ud2
3:  movl $1, %edi                       # a started CPU: take an index, then a stack
    lock xaddl %edi, started_cpus
    cmpl $MAX_CPUS, %edi
    jae 4f
    leal 1(%rdi), %eax
    imull $BOOT_STACK_BYTES, %eax, %eax
    movabsq $boot_stacks, %rsp
    addq %rax, %rsp
    xorl %ebp, %ebp
    movabsq $metal_started_cpu, %rax
    call *%rax
    ud2
4:  cli                                 # more CPUs than this kernel uses
    hlt
    jmp 4b

    # Copied to TRAMPOLINE, a page below 1 MiB: real mode, CS = page number << 8.
    .section .rodata, "a"
    .globl trampoline_start, trampoline_end
    .balign 16
    .code16
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl trampoline_gdtr - trampoline_start
    movl %cr0, %eax
    orl $1, %eax                        # PE
    movl %eax, %cr0
    ljmpl $0x18, $started_start32
    .balign 8
trampoline_gdtr:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt
trampoline_end:

    .section .boot.text, "ax"
    .code32
started_start32:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %ebp, %ebp
    jmp enter_long

    .code64
    # One stack per CPU, later that of its idle loop; the lowest page of each is
    # a guard page, unmapped once the kernel's own tables are loaded.
    .section .bss, "aw", @nobits
    .balign 4096
    .globl boot_stacks
boot_stacks:
    .skip BOOT_STACK_BYTES * MAX_CPUS
