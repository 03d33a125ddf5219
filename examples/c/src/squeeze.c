/* Compresses stdin and tells the ratio; --self-test does so with a text of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static int report(const unsigned char *text, unsigned long size)
{
    unsigned long packed_size = compressBound(size);
    unsigned char *packed = malloc(packed_size), *back = malloc(size + 1);
    unsigned long back_size = size;
    if (!packed || !back)
        return 1;
    if (compress2(packed, &packed_size, text, size, 9) != Z_OK)
        return 1;
    if (uncompress(back, &back_size, packed, packed_size) != Z_OK || back_size != size || memcmp(back, text, size))
        return 1;
    printf("squeeze: %lu -> %lu bytes, round trip ok\n", size, packed_size);
    free(packed);
    free(back);
    return 0;
}

int main(int argc, char **argv)
{
    static unsigned char text[1 << 20];
    unsigned long size;
    if (argc > 1 && strcmp(argv[1], "--self-test") == 0) {
        for (size = 0; size < 100000; size++)
            text[size] = "kiln"[size % 4];
    } else {
        size = fread(text, 1, sizeof text, stdin);
    }
    return report(text, size);
}
