#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Trains by calls of iree-run-module, a program of its own: no Python runs here.
#
#   train.sh IREE_RUN_MODULE FOLDER EPOCHS TENSORS
#
# FOLDER holds digits.vmfb, x.npy, y.npy and test_x.npy. Each call is a process of its own; what it learned
# is handed on in FOLDER/state.npy, which holds TENSORS arrays one after the other.
set -eu
run=$1 folder=$2 epochs=$3 tensors=$4

# One --output for each tensor of the state: `@` makes the file, `+` appends to it. `--input=*` reads them all.
write_state="--output=@$folder/new_state.npy"
for _ in $(seq 2 "$tensors"); do
  write_state="$write_state --output=+$folder/new_state.npy"
done

call() {
  function=$1
  shift
  "$run" --device=local-task --module="$folder/digits.vmfb" --function="$function" "$@" > "$folder/log.txt"
}

call initial_state $write_state
mv "$folder/new_state.npy" "$folder/state.npy"

for epoch in $(seq 1 "$epochs"); do
  call train --input="*$folder/state.npy" --input="@$folder/x.npy" --input="@$folder/y.npy" \
    --output="@$folder/losses_$epoch.npy" $write_state
  mv "$folder/new_state.npy" "$folder/state.npy"
  echo "   epoch $epoch: a process ended, its state is in state.npy"
done

call evaluate --input="*$folder/state.npy" --input="@$folder/test_x.npy" --output="@$folder/predicted.npy"
