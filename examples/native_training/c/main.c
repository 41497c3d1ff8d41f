// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Trains the network of native_training.py with IREE's runtime alone.
//
//   train_digits digits.vmfb x.bin y.bin EPOCHS DEVICE
//
// x.bin holds float32[batches, 32, 64], y.bin int64[batches, 32], both as numpy's tofile() writes them.
// The state lives in the session: parameters, moments and the step count are globals of the module, and
// every call of native.train_step changes them.

#include <stdio.h>
#include <stdlib.h>

#include "iree/runtime/api.h"

enum { BATCH = 32, PIXELS = 64 };

typedef struct {
  float* x;
  int64_t* y;
  size_t batches;
} data_t;

// Reads a whole file; the caller frees it. Returns NULL when it cannot be read.
static void* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  if (!file) return NULL;
  void* bytes = NULL;
  if (fseek(file, 0, SEEK_END) == 0) {
    long length = ftell(file);
    rewind(file);
    if (length > 0) bytes = malloc((size_t)length);
    if (bytes && fread(bytes, 1, (size_t)length, file) != (size_t)length) {
      free(bytes);
      bytes = NULL;
    }
    *size = bytes ? (size_t)length : 0;
  }
  fclose(file);
  return bytes;
}

// Reads x and y, and checks that they hold the same number of whole batches.
static int read_data(const char* x_path, const char* y_path, data_t* data) {
  size_t x_size = 0, y_size = 0;
  const size_t x_batch = sizeof(float) * BATCH * PIXELS, y_batch = sizeof(int64_t) * BATCH;
  data->x = read_file(x_path, &x_size);
  data->y = read_file(y_path, &y_size);
  data->batches = x_size / x_batch;
  int fits = data->x && data->y && x_size % x_batch == 0 && y_size == data->batches * y_batch;
  if (!fits) fprintf(stderr, "train_digits: %s and %s do not hold the same batches\n", x_path, y_path);
  return fits;
}

// Copies an array to the device and appends it to the arguments of a call.
static iree_status_t push(iree_runtime_call_t* call, iree_hal_element_type_t type, iree_host_size_t rank,
                          const iree_hal_dim_t* shape, const void* data, iree_host_size_t size) {
  iree_hal_device_t* device = iree_runtime_session_device(call->session);
  iree_hal_buffer_params_t params = {0};
  params.type = IREE_HAL_MEMORY_TYPE_DEVICE_LOCAL;
  params.usage = IREE_HAL_BUFFER_USAGE_DEFAULT;
  iree_hal_buffer_view_t* view = NULL;
  iree_status_t status = iree_hal_buffer_view_allocate_buffer_copy(
      device, iree_hal_device_allocator(device), rank, shape, type, IREE_HAL_ENCODING_TYPE_DENSE_ROW_MAJOR,
      params, iree_make_const_byte_span(data, size), &view);
  if (iree_status_is_ok(status)) status = iree_runtime_call_inputs_push_back_buffer_view(call, view);
  iree_hal_buffer_view_release(view);  // The list of arguments keeps it.
  return status;
}

// Reads the only result of a call, one float.
static iree_status_t pop_float(iree_runtime_call_t* call, float* value) {
  iree_hal_buffer_view_t* view = NULL;
  iree_status_t status = iree_runtime_call_outputs_pop_front_buffer_view(call, &view);
  if (iree_status_is_ok(status)) {
    status = iree_hal_device_transfer_d2h(
        iree_runtime_session_device(call->session), iree_hal_buffer_view_buffer(view), 0, value, sizeof(*value),
        IREE_HAL_TRANSFER_BUFFER_FLAG_DEFAULT, iree_infinite_timeout());
  }
  iree_hal_buffer_view_release(view);
  return status;
}

// Calls native.train_step for every batch, EPOCHS times; prints the mean loss of each pass over the data.
static iree_status_t train(iree_runtime_session_t* session, const data_t* data, int epochs) {
  iree_runtime_call_t call;
  iree_status_t status =
      iree_runtime_call_initialize_by_name(session, iree_make_cstring_view("native.train_step"), &call);
  if (!iree_status_is_ok(status)) return status;
  const iree_hal_dim_t x_shape[] = {BATCH, PIXELS}, y_shape[] = {BATCH};
  for (int epoch = 1; epoch <= epochs && iree_status_is_ok(status); ++epoch) {
    double sum = 0;
    for (size_t i = 0; i < data->batches && iree_status_is_ok(status); ++i) {
      float loss = 0;
      iree_runtime_call_reset(&call);
      status = push(&call, IREE_HAL_ELEMENT_TYPE_FLOAT_32, 2, x_shape, data->x + i * BATCH * PIXELS,
                    sizeof(float) * BATCH * PIXELS);
      if (iree_status_is_ok(status)) {
        status = push(&call, IREE_HAL_ELEMENT_TYPE_INT_64, 1, y_shape, data->y + i * BATCH,
                      sizeof(int64_t) * BATCH);
      }
      if (iree_status_is_ok(status)) status = iree_runtime_call_invoke(&call, /*flags=*/0);
      if (iree_status_is_ok(status)) status = pop_float(&call, &loss);
      sum += loss;
    }
    if (iree_status_is_ok(status)) printf("epoch %d: loss %.6f\n", epoch, sum / (double)data->batches);
  }
  iree_runtime_call_deinitialize(&call);
  return status;
}

// Opens a session with the module of `path` loaded in it.
static iree_status_t load(const char* path, const char* driver, iree_runtime_instance_t** instance,
                          iree_runtime_session_t** session) {
  iree_runtime_instance_options_t instance_options;
  iree_runtime_instance_options_initialize(&instance_options);
  iree_runtime_instance_options_use_all_available_drivers(&instance_options);
  iree_status_t status = iree_runtime_instance_create(&instance_options, iree_allocator_system(), instance);
  if (!iree_status_is_ok(status)) return status;
  iree_hal_device_t* device = NULL;
  status = iree_runtime_instance_try_create_default_device(*instance, iree_make_cstring_view(driver), &device);
  if (!iree_status_is_ok(status)) return status;
  iree_runtime_session_options_t session_options;
  iree_runtime_session_options_initialize(&session_options);
  status = iree_runtime_session_create_with_device(*instance, &session_options, device,
                                                   iree_runtime_instance_host_allocator(*instance), session);
  iree_hal_device_release(device);  // The session keeps it.
  if (!iree_status_is_ok(status)) return status;
  return iree_runtime_session_append_bytecode_module_from_file(*session, path);
}

int main(int argc, char** argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: train_digits digits.vmfb x.bin y.bin EPOCHS DEVICE (local-sync, local-task)\n");
    return 2;
  }
  data_t data = {0};
  if (!read_data(argv[2], argv[3], &data)) return 2;
  iree_runtime_instance_t* instance = NULL;
  iree_runtime_session_t* session = NULL;
  iree_status_t status = load(argv[1], argv[5], &instance, &session);
  if (iree_status_is_ok(status)) status = train(session, &data, atoi(argv[4]));
  int failed = !iree_status_is_ok(status);
  if (failed) {
    iree_status_fprint(stderr, status);
    iree_status_free(status);
  }
  if (session) iree_runtime_session_release(session);
  if (instance) iree_runtime_instance_release(instance);
  free(data.x);
  free(data.y);
  return failed;
}
