; The program of the old till: it answers what is typed at its serial port, and sleeps until something is.
;
; GRUB loads it (Multiboot Specification 0.6.96, sections 3.1 to 3.3) with the tally of its starts as its command line. A
; prompt of GRUB's own would do as well, were it not that GRUB waits in a loop: each till would take a whole processor
; of its host for as long as it runs. For the same reason there is nothing here that asks a port again and again.
; It does not know ACPI: its power button does nothing, as with the tills of its time.
bits 32
org 0x100000

MAGIC equ 0x1badb002
FLAGS equ 1 << 16                       ; the addresses are in this header: this file is no ELF
COM1  equ 0x3f8                         ; set to 115200 8N1 by GRUB
IRQ4  equ 0x24                          ; where the first interrupt controller is told to put COM1
WIDTH equ 60                            ; of a line that is typed

header:
        dd MAGIC, FLAGS, -(MAGIC + FLAGS)
        dd header, header, loaded, end, start

start:
        cli
        cld
        mov     esp, stack
        lgdt    [gdt.pointer]           ; the loader's may be gone by now
        jmp     8:.flat
.flat:  mov     ax, 16
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esi, nothing
        test    dword [ebx], 1 << 2     ; is there a command line?
        jz      .tally
        mov     esi, [ebx + 16]
.tally: mov     [starts], esi

        mov     dword [idt + 8 * IRQ4], (8 << 16) | ((woken - $$ + 0x100000) & 0xffff)
        mov     dword [idt + 8 * IRQ4 + 4], ((woken - $$ + 0x100000) & 0xffff0000) | 0x8e00
        lidt    [idt.pointer]
        mov     esi, controllers
.port:  lodsw
        movzx   edx, ax
        lodsb
        out     dx, al
        cmp     esi, controllers.end
        jb      .port

        mov     esi, greeting
        call    say
        call    status
        mov     esi, hint
        call    say

.ask:   mov     esi, prompt
        call    say
        mov     edi, line
.key:   call    key
        cmp     al, 13
        je      .typed
        cmp     al, 8
        je      .back
        cmp     al, 127
        je      .back
        cmp     al, ' '
        jb      .key
        cmp     edi, line + WIDTH
        jae     .key
        stosb
        call    put
        jmp     .key
.back:  cmp     edi, line
        je      .key
        dec     edi
        mov     esi, rubout
        call    say
        jmp     .key

.typed: mov     byte [edi], 0
        mov     esi, newline
        call    say
        cmp     edi, line
        je      .ask
        mov     ebx, commands
.next:  mov     esi, [ebx]              ; name, what to do
        test    esi, esi
        jz      .what
        mov     edi, line
.same:  lodsb
        scasb
        jne     .other
        test    al, al
        jnz     .same
        call    [ebx + 4]
        jmp     .ask
.other: add     ebx, 8
        jmp     .next
.what:  mov     esi, unknown
        call    say
        jmp     .ask

status: mov     esi, ready
        call    say
        mov     esi, [starts]
        call    say
        mov     esi, newline
        jmp     say

receipts:
        mov     esi, paper
        jmp     say

help:   mov     esi, hint
        ; falls through

; Says the text at ESI, to its zero.
say:    lodsb
        test    al, al
        jz      .end
        call    put
        jmp     say
.end:   ret

; Says the character in AL.
put:    push    eax
        mov     dx, COM1 + 5
.full:  in      al, dx
        test    al, 1 << 5              ; the transmitter takes one more
        jz      .full
        pop     eax
        mov     dx, COM1
        out     dx, al
        ret

; Waits for a key, asleep; AL is what came.
key:    mov     dx, COM1 + 5
        cli
        in      al, dx
        test    al, 1
        jnz     .there
        sti                             ; in force after the next instruction: what comes in between still ends it
        hlt
        jmp     key
.there: sti
        mov     dx, COM1
        in      al, dx
        ret

; The serial port has something: that has ended the sleep, and is all there is to do.
woken:  push    eax
        mov     al, 0x20
        out     0x20, al
        pop     eax
        iret

controllers:                            ; port and byte: both interrupt controllers anew (Intel 8259A), COM1's alone on
%macro tell 2
        dw %1
        db %2
%endmacro
        tell 0x20, 0x11
        tell 0x21, 0x20
        tell 0x21, 4
        tell 0x21, 1
        tell 0xa0, 0x11
        tell 0xa1, 0x28
        tell 0xa1, 2
        tell 0xa1, 1
        tell 0x21, ~(1 << 4) & 0xff
        tell 0xa1, 0xff
        tell COM1 + 4, 0x0b             ; ready, and its interrupt line connected
        tell COM1 + 1, 1                ; interrupt when something is received
.end:

gdt:    dq 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
.pointer:
        dw .pointer - gdt - 1
        dd gdt
idt.pointer:
        dw 8 * (IRQ4 + 1) - 1
        dd idt

commands:
        dd .status, status, .receipts, receipts, .help, help, 0
.status:   db "status", 0
.receipts: db "receipts", 0
.help:     db "help", 0

greeting: db "TILL 3.1 (c) 1998"
newline:  db 13, 10
nothing:  db 0
ready:    db "till: ready, starts so far: ", 0
hint:     db "Type 'status', 'receipts' or 'help'.", 13, 10, 0
prompt:   db "till> ", 0
rubout:   db 8, " ", 8, 0
unknown:  db "No such command. Type 'help'.", 13, 10, 0
paper:    db "0001  1 x bolt M8           0.40", 13, 10
          db "0002  4 x washer            0.80", 13, 10
          db "0003  1 x grease, 400 g     7.95", 13, 10, 0
loaded:

section .bss nobits
starts: resd 1
line:   resb WIDTH + 1
        alignb 16
idt:    resb 8 * (IRQ4 + 1)
        resb 2048
stack:
end:
