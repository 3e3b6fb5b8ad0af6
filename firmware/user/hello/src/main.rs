//! Prints its arguments and ends with status 7: shows that `execve` passes both on.

#![no_std]
#![no_main]

use rt::{Args, println};

rt::entry!(main);

fn main(args: Args) -> i32 {
    println!("hello from ring 3, process {}", rt::process::Pid::own());
    for (index, arg) in args.enumerate() {
        println!("argv[{index}] = {arg}");
    }
    7
}
