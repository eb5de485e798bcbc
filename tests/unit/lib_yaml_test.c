/* SPDX-License-Identifier: Apache-2.0
 *
 * yaml: what a reader of YAML gets back is what was written.
 */
#include <string.h>

#include "lib/yaml.h"
#include "tests/test.h"

static void writes(const char *json, const char *yaml)
{
    struct buf text = {0};
    json_t *value;
    REQUIRE(json_read("the test", json, strlen(json), &value, NULL) == STATUS_OK);
    yaml_append(&text, value);
    EXPECT_STR(yaml, text.data);
    json_decref(value);
    buf_release(&text);
}

TEST(values_are_blocks)
{
    writes("{\"id\": \"j-17\", \"step\": 3, \"labels\": {\"team\": \"a b\"}, \"ok\": true}",
           "id: j-17\nstep: 3\nlabels:\n  team: a b\nok: true\n");
    writes("[{\"a\": 1, \"b\": [1, [2]]}, 3, null]",
           "- a: 1\n  b:\n    - 1\n    - - 2\n- 3\n- null\n");
    writes("{\"none\": [], \"nothing\": {}}", "none: []\nnothing: {}\n");
    writes("[]", "[]\n");
    writes("[1e-5, 0.25, 1e300]", "- 1.0e-05\n- 0.25\n- 1.0e+300\n");
}

TEST(a_text_that_could_be_something_else_is_quoted)
{
    static const char *const texts[] = {"",    "17",   "No",    "null", "~",     "a: b",
                                        "a #", "- a",  "tail ", "a\nb", "1e3",   ".inf",
                                        "y",   "0x1f", "?",     "@x",   "sha:1", "*a"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct buf text = {0};
        yaml_append_string(&text, texts[i]);
        EXPECT_I64('"', text.data[0]);
        buf_release(&text);
    }
    static const char *const plain[] = {"queued", "acme/support@v12", "a b-c", "/tmp/x.jsonl"};
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        struct buf text = {0};
        yaml_append_string(&text, plain[i]);
        EXPECT_STR(plain[i], text.data);
        buf_release(&text);
    }
}

TEST_MAIN()
