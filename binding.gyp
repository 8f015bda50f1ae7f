# The addon is built by cmake-js (native/CMakeLists.txt). This file is for those who run node-gyp, or whose tools look for it: it
# compiles nothing itself and hands over to the same build. npm ignores it, because package.json has an install script.
{
  'targets': [
    {
      'target_name': 'sluice',
      'type': 'none',
      'actions': [
        {
          'action_name': 'cmake_js',
          'inputs': ['native/CMakeLists.txt'],
          'outputs': ['build/Release/sluice.node'],
          'action': ['node', 'node_modules/cmake-js/bin/cmake-js', 'compile', '--directory', 'native', '--out', 'build/native'],
        },
      ],
    },
  ],
}
