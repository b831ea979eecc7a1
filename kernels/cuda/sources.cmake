# What the library is made of; the tests compile the same files with their emulation of the CUDA runtime in front.
set(CUDA_BACKEND_SOURCES
  attention.cu attention_expanded.cu buckets.cpp check.cpp compile.cpp compile_attention.cpp compile_experts.cpp cuda_backend.cpp device.cpp
  expand.cu expert_slots.cpp expert_store.cpp experts.cu experts_half.cu experts_tile.cu head_jobs.cpp heads.cu kv_store.cpp memory.cpp
  norm_readers.cpp plane_pieces.cpp planes.cpp probe.cu program.cpp program_tables.cpp project.cu project_half.cu project_tile.cu
  read_rate.cu route.cu rows.cu sample.cu values.cpp weights.cpp)
